//! The helper's request table, from the manager's side: one packet out, its answer back, events kept for later.
//!
//! What arrives is decoded by `casemate-wire` to its last byte; an answer to a question that was not asked ends the connection.
#![forbid(unsafe_code)]

use casemate_error::{Code, Error, escaped};
use casemate_sys::socket;
use casemate_wire::{Answer, Event, Facts, Failure, MAX_MESSAGE, PROTOCOL, Packet, Reply, Request};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A request that was made.
#[derive(Debug)]
#[must_use]
pub struct Asked(u32);

/// The number of the greeting, the first request of a connection.
pub const GREETING: u32 = 1;

/// An answer, and the descriptors that came with it.
pub type Answered = (Reply, Vec<OwnedFd>);

/// What is done every `interval` while an answer takes its time: a watchdog ping to the service manager.
#[derive(Clone)]
pub struct Keepalive {
    /// The longest time between two pings.
    pub interval: Duration,
    /// Sends one.
    pub ping: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Keepalive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keepalive").field("interval", &self.interval).finish_non_exhaustive()
    }
}

/// A connection to the helper.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    last: u32,
    /// The requests that were made, with the answers that came before they were waited for.
    asked: BTreeMap<u32, Option<Answered>>,
    events: VecDeque<Event>,
    buffer: Vec<u8>,
    interrupt: Option<OwnedFd>,
    keepalive: Option<Keepalive>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody listens at the socket, or it cannot be opened.
    Connect(Errno),
    /// The connection broke.
    Io(Errno),
    /// The helper has closed the connection.
    Closed,
    /// The caller was told to stop while it waited; the connection is of no more use.
    Interrupted,
    /// What came is not what was asked for.
    Protocol(&'static str),
    /// The helper speaks another protocol: the two programs are not of one version.
    Version(u16),
    /// The helper refused, or a step of it failed; nothing of it is left.
    Failed(Failure),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(errno) => write!(f, "helper: connect: {errno}"),
            Self::Io(errno) => write!(f, "helper: exchange a packet: {errno}"),
            Self::Closed => f.write_str("helper: exchange a packet: it has closed the connection; see helper.log"),
            Self::Interrupted => f.write_str("helper: wait for its answer: told to stop"),
            Self::Protocol(what) => write!(f, "helper: read its answer: {what}"),
            Self::Version(theirs) => {
                write!(f, "helper: greet: it speaks protocol {theirs}, this is {PROTOCOL}; stop it and start again")
            }
            Self::Failed(failure) => match failure.errno {
                Some(errno) => {
                    let reason = Errno::from_raw_os_error(errno);
                    write!(f, "{}: {}: {reason}", escaped(&failure.object), escaped(&failure.step))
                }
                None => write!(f, "{}: {}", escaped(&failure.step), escaped(&failure.object)),
            },
        }
    }
}

impl std::error::Error for ClientError {}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Failed(failure) => failure.kind.into(),
            _ => Code::Failed,
        };
        Self::told(code, error)
    }
}

impl Client {
    /// Greets on a connected socket ([`casemate_engine::launch::Session::connect`] makes one). `supervise`: this client gets the events,
    /// in the place of an earlier one.
    pub fn greet(socket: OwnedFd, supervise: bool) -> Result<(Self, Facts), ClientError> {
        let mut client = Self {
            socket,
            last: 0,
            asked: BTreeMap::new(),
            events: VecDeque::new(),
            buffer: vec![0; MAX_MESSAGE],
            interrupt: None,
            keepalive: None,
        };
        match client.call(Request::Hello { protocol: PROTOCOL, supervise }, &[])? {
            (Reply::Facts(facts), _) if facts.protocol == PROTOCOL => Ok((client, facts)),
            (Reply::Facts(facts), _) => Err(ClientError::Version(facts.protocol)),
            _ => Err(ClientError::Protocol("not the answer to a greeting")),
        }
    }

    /// The socket, for whoever goes on with the connection in another way.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Sends one request and waits for its answer. Events that come before it are kept for [`Self::next_event`].
    pub fn call(&mut self, request: Request, descriptors: &[BorrowedFd<'_>]) -> Result<Answered, ClientError> {
        let asked = self.ask(request, descriptors)?;
        self.answer(asked)
    }

    /// Sends one request, whose answer [`Self::answer`] waits for; others can be made meanwhile.
    pub fn ask(&mut self, request: Request, descriptors: &[BorrowedFd<'_>]) -> Result<Asked, ClientError> {
        self.last = self.last.wrapping_add(1);
        let packet = casemate_wire::encode(&Packet { number: self.last, request })
            .map_err(|_| ClientError::Protocol("the request is longer than a packet"))?;
        socket::send(&self.socket, &packet, descriptors).map_err(|errno| match errno {
            Errno::PIPE | Errno::CONNRESET => ClientError::Closed,
            errno => ClientError::Io(errno),
        })?;
        self.asked.insert(self.last, None);
        Ok(Asked(self.last))
    }

    /// The answer to this request.
    pub fn answer(&mut self, Asked(asked): Asked) -> Result<Answered, ClientError> {
        loop {
            if let Some((reply, descriptors)) = self.asked.get_mut(&asked).and_then(Option::take) {
                self.asked.remove(&asked);
                return match reply {
                    Reply::Failed(failure) => Err(ClientError::Failed(failure)),
                    reply => Ok((reply, descriptors)),
                };
            }
            match self.receive()? {
                (Answer::Event(event), _) => self.events.push_back(event),
                (Answer::Reply { number, reply }, descriptors) => match self.asked.get_mut(&number) {
                    Some(answer @ None) => *answer = Some((reply, descriptors)),
                    _ => return Err(ClientError::Protocol("an answer to another question")),
                },
            }
        }
    }

    /// As [`Self::call`], for a request whose answer is [`Reply::Done`].
    pub fn done(&mut self, request: Request) -> Result<(), ClientError> {
        match self.call(request, &[])? {
            (Reply::Done, _) => Ok(()),
            _ => Err(ClientError::Protocol("not the answer to this request")),
        }
    }

    /// The next event, without waiting: one kept earlier, else one that lies in the socket.
    pub fn next_event(&mut self) -> Result<Option<Event>, ClientError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::io::retry_on_intr(|| poll(&mut ready, Some(&now))) {
            Ok(0) => Ok(None),
            Ok(_) => self.wait_event().map(Some),
            Err(errno) => Err(ClientError::Io(errno)),
        }
    }

    /// The next event, however long it takes.
    pub fn wait_event(&mut self) -> Result<Event, ClientError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        match self.receive()? {
            (Answer::Event(event), _) => Ok(event),
            _ => Err(ClientError::Protocol("an answer that nobody asked for")),
        }
    }

    /// Whether events were kept, so that waiting on the descriptor would sleep over them.
    pub fn has_kept_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// From now on waiting ends with [`ClientError::Interrupted`] when this descriptor has something to read.
    pub fn interrupt_on(&mut self, descriptor: impl AsFd) -> Result<(), ClientError> {
        let copy = rustix::io::fcntl_dupfd_cloexec(descriptor, 3).map_err(ClientError::Io)?;
        self.interrupt = Some(copy);
        Ok(())
    }

    /// From now on the service manager learns, while an answer takes its time, that it is worth waiting for: a helper that
    /// hangs has a watchdog of its own.
    pub fn keep_alive(&mut self, keepalive: Option<Keepalive>) {
        self.keepalive = keepalive;
    }

    /// Waits this long for something else than the helper. The service manager learns meanwhile, and the same interrupts it.
    pub fn rest(&self, time: Duration) -> Result<(), ClientError> {
        self.ping();
        let time = Timespec::try_from(time).map_err(|_| ClientError::Io(Errno::INVAL))?;
        let mut interrupts: Vec<_> =
            self.interrupt.iter().map(|interrupt| PollFd::new(interrupt, PollFlags::IN)).collect();
        match rustix::io::retry_on_intr(|| poll(&mut interrupts, Some(&time))).map_err(ClientError::Io)? {
            0 => Ok(()),
            _ => Err(ClientError::Interrupted),
        }
    }

    /// From now on nothing but the helper ends the waiting.
    pub fn interrupt_never(&mut self) {
        self.interrupt = None;
    }

    fn ping(&self) {
        if let Some(keepalive) = &self.keepalive {
            (keepalive.ping)();
        }
    }

    fn wait(&self) -> Result<(), ClientError> {
        let mut ready = vec![PollFd::new(&self.socket, PollFlags::IN)];
        ready.extend(self.interrupt.iter().map(|interrupt| PollFd::new(interrupt, PollFlags::IN)));
        let pause = self.keepalive.as_ref().and_then(|keepalive| Timespec::try_from(keepalive.interval).ok());
        while rustix::io::retry_on_intr(|| poll(&mut ready, pause.as_ref())).map_err(ClientError::Io)? == 0 {
            self.ping();
        }
        match ready.get(1).is_some_and(|interrupt| !interrupt.revents().is_empty()) {
            true => Err(ClientError::Interrupted),
            false => Ok(()),
        }
    }

    fn receive(&mut self) -> Result<(Answer, Vec<OwnedFd>), ClientError> {
        self.wait()?;
        let (length, descriptors) = match socket::receive(&self.socket, &mut self.buffer) {
            Ok(Some(received)) => received,
            Ok(None) | Err(Errno::CONNRESET) => return Err(ClientError::Closed),
            Err(errno) => return Err(ClientError::Io(errno)),
        };
        let bytes = self.buffer.get(..length).unwrap_or_default();
        let answer = casemate_wire::decode(bytes).map_err(|_| ClientError::Protocol("it is malformed"))?;
        Ok((answer, descriptors))
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_wire::{CgroupFacts, Exit, IdSpace, Name};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    /// The other end of a connection, played from a list of answers: each request is answered by the next.
    fn answered(answers: Vec<Vec<Answer>>) -> OwnedFd {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        std::thread::spawn(move || {
            let mut buffer = vec![0; MAX_MESSAGE];
            for batch in answers {
                socket::receive(&theirs, &mut buffer).unwrap();
                for answer in batch {
                    socket::send(&theirs, &casemate_wire::encode(&answer).unwrap(), &[]).unwrap();
                }
            }
        });
        ours
    }

    fn facts(protocol: u16) -> Answer {
        let facts = Facts { protocol, ids: IdSpace::Single, cgroup: CgroupFacts::default(), landlock: 0 };
        Answer::Reply { number: 1, reply: Reply::Facts(facts) }
    }

    fn exited() -> Event {
        let exit = Exit { code: 0, signal: None, oom_kills: 0, at: 0 };
        Event::Exited { name: Name::new("a").unwrap(), exit }
    }

    #[test]
    fn an_event_before_the_answer_is_kept() {
        let second = vec![Answer::Event(exited()), Answer::Reply { number: 2, reply: Reply::Done }];
        let (mut client, _) = Client::greet(answered(vec![vec![facts(PROTOCOL)], second]), true).unwrap();
        client.done(Request::Quit).unwrap();
        assert!(client.has_kept_events());
        assert_eq!(client.next_event().unwrap(), Some(exited()));
    }

    #[test]
    fn another_version_or_another_number_ends_it() {
        let other = Client::greet(answered(vec![vec![facts(PROTOCOL + 1)]]), false);
        assert!(matches!(other, Err(ClientError::Version(_))));
        let wrong = vec![Answer::Reply { number: 9, reply: Reply::Done }];
        let (mut client, _) = Client::greet(answered(vec![vec![facts(PROTOCOL)], wrong]), false).unwrap();
        assert!(matches!(client.done(Request::Quit), Err(ClientError::Protocol(_))));
        assert!(matches!(client.done(Request::Quit), Err(ClientError::Closed)));
    }

    #[test]
    fn threat_29_what_the_helper_says_is_escaped() {
        let failure = Failure {
            step: "open".into(),
            object: "\u{1b}[2J\nforged".into(),
            errno: None,
            kind: casemate_wire::FailureKind::Container,
        };
        let text = ClientError::Failed(failure).to_string();
        assert!(!text.contains('\u{1b}') && !text.contains('\n'), "{text}");
    }
}
