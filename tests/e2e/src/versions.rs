//! Helpers and managers of other versions: a proxy at the helper's socket that knows fewer or more messages than the helper behind
//! it, and a client that sends only recorded packets.

use crate::{Instance, place};
use casemate_sys::socket;
use casemate_wire::{Envelope, MAX_MESSAGE};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Uid;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The frozen requests, listed a second time: the test must fail when the list in the code changes.
const FROZEN: [&str; 6] = ["hello", "containers", "attach", "signal", "kill", "forget"];

/// The version of helper that the proxy imitates.
#[derive(Debug, Clone, Copy)]
pub enum Played {
    /// One of an earlier protocol: besides the frozen requests it knows only these.
    Earlier(&'static [&'static str]),
    /// One of a later protocol: it sends unknown events and descriptors, and answers these requests with unknown messages.
    Later(&'static [&'static str]),
    /// One of this protocol that takes its time before it lists its containers.
    SlowToList,
}

/// Puts a proxy between the helper that runs and the managers that connect from now on. It lives as long as the test's process.
///
/// No manager may be connected: its connection would go past the proxy.
pub fn play(casemate: &Instance, played: Played) {
    let socket = socket_of(casemate);
    let behind = casemate.run_directory().join("helper-behind.sock");
    std::fs::rename(&socket, &behind).unwrap();
    let user = manager_of(casemate);
    let (listening, ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        become_user(user);
        let listener = seqpacket();
        rustix::net::bind(&listener, &SocketAddrUnix::new(&socket).unwrap()).unwrap();
        rustix::net::listen(&listener, 16).unwrap();
        listening.send(()).unwrap();
        loop {
            let manager = rustix::net::accept_with(&listener, SocketFlags::CLOEXEC).unwrap();
            let helper = connect(&behind);
            std::thread::spawn(move || Connection { manager, helper, played, unknown: Vec::new() }.run());
        }
    });
    ready.recv().unwrap();
}

/// One manager's connection, and the one to the helper behind it.
struct Connection {
    manager: OwnedFd,
    helper: OwnedFd,
    played: Played,
    /// Numbers of the requests whose answers get an unknown name.
    unknown: Vec<u32>,
}

impl Connection {
    fn run(mut self) {
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            let mut ready = [PollFd::new(&self.manager, PollFlags::IN), PollFd::new(&self.helper, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut ready, None)).unwrap();
            let [from_manager, from_helper] = ready.map(|fd| !fd.revents().is_empty());
            for (ready, requests) in [(from_manager, true), (from_helper, false)] {
                if !ready {
                    continue;
                }
                let source = if requests { &self.manager } else { &self.helper };
                let Ok(Some((length, descriptors))) = socket::receive(source, &mut buffer) else { return };
                let packet = buffer[..length].to_vec();
                if requests { self.request(&packet, &descriptors) } else { self.answer(&packet, &descriptors) }
            }
        }
    }

    fn request(&mut self, packet: &[u8], descriptors: &[OwnedFd]) {
        let request = Envelope::decode(packet).unwrap();
        match self.played {
            Played::Earlier(more) if !FROZEN.contains(&request.name) && !more.contains(&request.name) => {
                let body =
                    casemate_wire::encode(&(request.name, "played by the proxy", None::<i32>, "unknown-request"))
                        .unwrap();
                self.to_manager(
                    &Envelope { number: request.number, name: "failed", descriptors: Vec::new(), body: &body },
                    &[],
                );
                return;
            }
            Played::Later(unknown) if unknown.contains(&request.name) => self.unknown.push(request.number),
            Played::Earlier(_) | Played::Later(_) => {}
            Played::SlowToList if request.name == "containers" => std::thread::sleep(Duration::from_secs(1)),
            Played::SlowToList => {}
        }
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let _ = socket::send(&self.helper, packet, &descriptors);
    }

    fn answer(&mut self, packet: &[u8], descriptors: &[OwnedFd]) {
        let mut answer = Envelope::decode(packet).unwrap();
        let mut descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let null = File::open("/dev/null").unwrap();
        let protocol = match self.played {
            Played::Earlier(_) => 0_u16,
            Played::Later(_) => casemate_wire::PROTOCOL + 1,
            Played::SlowToList => casemate_wire::PROTOCOL,
        };
        let protocol = casemate_wire::encode(&protocol).unwrap();
        if answer.name == "welcome" {
            answer.body = &protocol;
        }
        if let Played::Later(_) = self.played {
            let event = Envelope { number: 0, name: "later-event", descriptors: vec!["later"], body: b"unknown" };
            self.to_manager(&event, &[null.as_fd()]);
            answer.descriptors.insert(0, "later");
            descriptors.insert(0, null.as_fd());
            if self.unknown.contains(&answer.number) {
                answer.name = "later-answer";
                answer.body = b"unknown";
            }
        }
        self.to_manager(&answer, &descriptors);
    }

    fn to_manager(&self, envelope: &Envelope<'_>, descriptors: &[rustix::fd::BorrowedFd<'_>]) {
        // Fails when the manager was killed.
        let _ = socket::send(&self.manager, &envelope.encode().unwrap(), descriptors);
    }
}

/// A client of the first version: it sends the packets that were recorded of it.
#[derive(Debug)]
pub struct FirstClient {
    socket: OwnedFd,
}

/// A packet, decoded without the code under test.
#[derive(Debug)]
pub struct Received {
    /// The whole packet.
    pub packet: Vec<u8>,
    /// Number of the request; 0: an event.
    pub number: u64,
    /// Name of the message.
    pub name: String,
    /// The message's fields.
    pub body: Vec<u8>,
    /// The descriptors that came beside it.
    pub descriptors: Vec<OwnedFd>,
}

impl FirstClient {
    /// Connects to an instance's helper as its manager's user.
    pub fn connect(casemate: &Instance) -> Self {
        Self { socket: connect_as_manager(casemate) }
    }

    /// Sends the recorded request with this comment, and takes the next packet.
    pub fn ask(&self, comment: &str) -> Received {
        socket::send(&self.socket, &recorded("requests", comment), &[]).unwrap();
        self.receive()
    }

    /// Takes the next packet.
    pub fn receive(&self) -> Received {
        let mut buffer = vec![0; MAX_MESSAGE];
        let (length, descriptors) = socket::receive(&self.socket, &mut buffer).unwrap().expect("a packet");
        buffer.truncate(length);
        let mut fields = Fields(&buffer);
        let number = fields.number();
        let name = fields.text();
        let names = fields.number();
        assert_eq!(usize::try_from(names).unwrap(), descriptors.len(), "{name}");
        (0..names).for_each(|_| drop(fields.text()));
        let body = fields.bytes();
        assert!(fields.0.is_empty(), "{name}");
        Received { number, name, body, descriptors, packet: buffer }
    }
}

/// Fields of a packet or a body, by the rules of postcard as they are written in its specification.
#[derive(Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    /// An unsigned number: seven bits a byte, the lowest first.
    pub fn number(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    /// A length, and as many bytes.
    pub fn bytes(&mut self) -> Vec<u8> {
        let length = self.number();
        self.take(usize::try_from(length).unwrap())
    }

    /// Like [`Self::bytes`], as text.
    pub fn text(&mut self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    /// So many bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken.to_vec()
    }
}

/// The recorded packet with this comment. `file`: `requests`, `answers` or `events`.
pub fn recorded(file: &str, comment: &str) -> Vec<u8> {
    let path = place::repository().join(format!("src/wire/tests/frozen/{file}.txt"));
    let text = std::fs::read_to_string(path).unwrap();
    let packet = text.split("\n\n").find(|packet| packet.lines().next() == Some(&format!("# {comment}")));
    let lines = packet.unwrap_or_else(|| panic!("no packet `{comment}` in {file}.txt")).lines();
    let digits: String = lines.map(|line| line.split('#').next().unwrap().trim()).collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// A connection to an instance's helper, of its manager's user.
pub fn connect_as_manager(casemate: &Instance) -> OwnedFd {
    let socket = socket_of(casemate);
    let user = manager_of(casemate);
    let connecting = std::thread::spawn(move || {
        become_user(user);
        connect(&socket)
    });
    connecting.join().unwrap()
}

fn socket_of(casemate: &Instance) -> PathBuf {
    casemate.run_directory().join("helper.sock")
}

/// The manager's user owns the run directory; the helper accepts connections of this user only.
fn manager_of(casemate: &Instance) -> Uid {
    Uid::from_raw(std::fs::metadata(casemate.run_directory()).unwrap().uid())
}

/// Changes the user of this thread alone.
fn become_user(user: Uid) {
    rustix::thread::set_thread_res_uid(user, user, user).unwrap();
}

fn seqpacket() -> OwnedFd {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

fn connect(path: &Path) -> OwnedFd {
    let socket = seqpacket();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}
