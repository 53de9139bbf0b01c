//! Frozen messages, compared with recorded packets: each decodes to the same message and encodes to the same bytes, for ever.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use casemate_wire::frozen::{Containers, Hello, ListContainers, Signal, Welcome};
use casemate_wire::{
    Container, Digest, Envelope, Event, Exit, Exited, Failure, FailureKind, Name, Reply, Request, State,
};
use std::fmt::Debug;

const REQUESTS: &str = include_str!("frozen/requests.txt");
const ANSWERS: &str = include_str!("frozen/answers.txt");
const EVENTS: &str = include_str!("frozen/events.txt");

/// 2026-01-01 in nanoseconds.
const TIME: u64 = 1_767_225_600_000_000_000;

/// The packets of a file: hexadecimal bytes, comments behind `#`, an empty line behind each packet.
fn recorded(text: &str) -> Vec<Vec<u8>> {
    let packets = text.split("\n\n").map(|packet| {
        let digits: String = packet.lines().map(|line| line.split('#').next().unwrap().trim()).collect();
        digits
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    });
    packets.filter(|packet: &Vec<u8>| !packet.is_empty()).collect()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Every message of a table beside every recorded packet, in the order of the file.
fn compare<M: Debug + PartialEq>(
    text: &str,
    expected: Vec<(u32, M, &[&str])>,
    decode: impl Fn(&str, &[u8]) -> Option<Result<M, casemate_wire::Error>>,
    packet: impl Fn(&M, u32, &[&str]) -> Result<Vec<u8>, casemate_wire::Error>,
) {
    let recorded = recorded(text);
    assert_eq!(recorded.len(), expected.len());
    for (bytes, (number, message, descriptors)) in recorded.iter().zip(expected) {
        let envelope = Envelope::decode(bytes).unwrap();
        assert_eq!((envelope.number, envelope.descriptors.as_slice()), (number, descriptors), "{message:?}");
        assert_eq!(decode(envelope.name, envelope.body).unwrap().as_ref(), Ok(&message));
        assert_eq!(packet(&message, number, descriptors).unwrap(), *bytes, "{message:?}");
    }
}

#[test]
fn frozen_requests_never_change() {
    let expected = vec![
        (1, Request::Hello(Hello { protocol: 1, supervise: true }), &[][..]),
        (2, Request::Hello(Hello { protocol: 1, supervise: false }), &[]),
        (u32::MAX, Request::Hello(Hello { protocol: u16::MAX, supervise: true }), &[]),
        (3, Request::Containers(ListContainers { after: None }), &[]),
        (4, Request::Containers(ListContainers { after: Some(name("web")) }), &[]),
        (5, Request::Attach(name("web")), &[]),
        (300, Request::Attach(name(&format!("a{}", "-b".repeat(31)))), &[]),
        (6, Request::Signal(Signal { name: name("web"), signal: 15 }), &[]),
        (7, Request::Signal(Signal { name: name("web"), signal: 64 }), &[]),
        (8, Request::Kill(name("web")), &[]),
        (9, Request::Forget(name("web")), &[]),
    ];
    compare(REQUESTS, expected, Request::decode, Request::packet);
}

#[test]
fn frozen_answers_never_change() {
    let container = |text: &str, byte, started, state| Container {
        name: name(text),
        digest: Digest::from_bytes([byte; 32]),
        started,
        state,
    };
    let exited = State::Exited(Exit { code: 3, signal: None, oom_kills: 0, at: TIME + 2 });
    let killed = State::Exited(Exit { code: 137, signal: Some(9), oom_kills: 300, at: u64::MAX });
    let three = vec![
        container("db", 0xd1, TIME, State::Running),
        container("job", 0xd2, TIME + 1, exited),
        container("web", 0xd3, u64::MAX, killed),
    ];
    let failed = |step: &str, object: &str, errno, kind| {
        Reply::Failed(Failure { step: step.to_owned(), object: object.to_owned(), errno, kind })
    };
    let of_kind = |kind| (8, failed("step", "", Some(4095), kind), &[][..]);
    let expected = vec![
        (1, Reply::Welcome(Welcome { protocol: 1 }), &[][..]),
        (2, Reply::Welcome(Welcome { protocol: u16::MAX }), &[]),
        (3, Reply::Containers(Containers { containers: Vec::new(), more: false }), &[]),
        (4, Reply::Containers(Containers { containers: three, more: true }), &[]),
        (5, Reply::Attached(()), &["pidfd", "stdout", "stderr", "spool", "spool-write"]),
        (6, Reply::Done(()), &[]),
        (7, failed("exec", "/app", Some(2), FailureKind::Container), &[]),
        (u32::MAX, failed("kill", "no container web", None, FailureKind::Refused), &[]),
        of_kind(FailureKind::Verification),
        of_kind(FailureKind::NotEnforceable),
        of_kind(FailureKind::UnknownRequest),
        of_kind(FailureKind::BlobDiffers),
        of_kind(FailureKind::BytesLimit),
    ];
    compare(ANSWERS, expected, Reply::decode, Reply::packet);
}

#[test]
fn frozen_events_never_change() {
    let exited = |code, signal, oom_kills, at| {
        Event::Exited(Exited { name: name("web"), exit: Exit { code, signal, oom_kills, at } })
    };
    let expected = vec![(0, exited(0, None, 0, TIME), &[][..]), (0, exited(137, Some(9), 1, TIME), &[])];
    compare(EVENTS, expected, Event::decode, Event::packet);
}

#[test]
fn kind_of_a_later_version_is_an_ordinary_failure() {
    let body = casemate_wire::encode(&("step", "object", None::<i32>, "quota")).unwrap();
    let failure: Failure = casemate_wire::decode(&body).unwrap();
    assert_eq!(failure.kind, FailureKind::Container);
}
