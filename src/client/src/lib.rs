//! The client of the helper: a blocking [`Client`], and the [`codec`] that event-driven clients use with their own socket.
//!
//! Every packet is decoded completely by `casemate-wire`; a reply without a request ends the connection.
#![forbid(unsafe_code)]

pub mod codec;
mod error;

pub use codec::{Answer, Codec, Incoming};
pub use error::Error;

use casemate_sys::socket;
use casemate_wire::frozen::{Hello, ListContainers};
use casemate_wire::{
    Container, ContainerDescriptors, Event, Facts, Layer, ListLayers, MAX_MESSAGE, Name, PROTOCOL, Reply, Request,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A sent request; [`Client::answer`] waits for its reply.
#[derive(Debug)]
#[must_use]
pub struct Ticket(u32);

/// Watchdog pings to the service manager while a reply is waited for.
#[derive(Clone)]
pub struct Keepalive {
    /// The longest time between two pings.
    pub interval: Duration,
    /// Sends a ping.
    pub ping: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Keepalive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keepalive").field("interval", &self.interval).finish_non_exhaustive()
    }
}

/// A connection to the helper whose calls wait for their replies.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    codec: Codec,
    /// Sent requests, with replies that arrived before they were waited for.
    answers: BTreeMap<u32, Option<Result<Answer, Error>>>,
    events: VecDeque<Event>,
    buffer: Vec<u8>,
    interrupt: Option<OwnedFd>,
    keepalive: Option<Keepalive>,
}

impl Client {
    /// Sends `Hello` on a connected socket (`casemate_engine::launch::Session::connect` makes one). `supervise`: this client receives the
    /// events, instead of an earlier one. Helpers of all versions reply with `Welcome`.
    pub fn connect(socket: OwnedFd, supervise: bool) -> Result<Self, Error> {
        let mut client = Self {
            socket,
            codec: Codec::default(),
            answers: BTreeMap::new(),
            events: VecDeque::new(),
            buffer: vec![0; MAX_MESSAGE],
            interrupt: None,
            keepalive: None,
        };
        match client.call(&Request::Hello(Hello { protocol: PROTOCOL, supervise }), &[])? {
            (Reply::Welcome(_), _) => Ok(client),
            (reply, _) => Err(Error::unexpected(&reply)),
        }
    }

    /// The helper's facts. A helper of another version may not know the request.
    pub fn facts(&mut self) -> Result<Facts, Error> {
        match self.call(&Request::Facts(()), &[])? {
            (Reply::Facts(facts), _) => Ok(facts),
            (reply, _) => Err(Error::unexpected(&reply)),
        }
    }

    /// The containers of the helper, running and exited, by name.
    pub fn containers(&mut self) -> Result<Vec<Container>, Error> {
        let mut all: Vec<Container> = Vec::new();
        loop {
            let after = all.last().map(|container| container.name.clone());
            match self.call(&Request::Containers(ListContainers { after }), &[])? {
                (Reply::Containers(page), _) => {
                    let last = !page.more || page.containers.is_empty();
                    all.extend(page.containers);
                    if last {
                        return Ok(all);
                    }
                }
                (reply, _) => return Err(Error::unexpected(&reply)),
            }
        }
    }

    /// The complete layers, by ChainID.
    pub fn layers(&mut self) -> Result<Vec<Layer>, Error> {
        let mut all: Vec<Layer> = Vec::new();
        loop {
            let after = all.last().map(|layer| layer.chain_id);
            match self.call(&Request::Layers(ListLayers { after }), &[])? {
                (Reply::Layers(page), _) => {
                    let last = !page.more || page.layers.is_empty();
                    all.extend(page.layers);
                    if last {
                        return Ok(all);
                    }
                }
                (reply, _) => return Err(Error::unexpected(&reply)),
            }
        }
    }

    /// The descriptors of a container, running or exited.
    pub fn attach(&mut self, name: &Name) -> Result<ContainerDescriptors, Error> {
        match self.call(&Request::Attach(name.clone()), &[])? {
            (Reply::Attached(()), descriptors) => descriptors.try_into().map_err(Error::Failed),
            (reply, _) => Err(Error::unexpected(&reply)),
        }
    }

    /// Sends a request whose reply is [`Reply::Done`].
    pub fn done(&mut self, request: &Request) -> Result<(), Error> {
        match self.call(request, &[])? {
            (Reply::Done(()), _) => Ok(()),
            (reply, _) => Err(Error::unexpected(&reply)),
        }
    }

    /// Sends a request and waits for its reply. Events that arrive before are kept for [`Self::next_event`].
    pub fn call(&mut self, request: &Request, descriptors: &[(&str, BorrowedFd<'_>)]) -> Result<Answer, Error> {
        let ticket = self.ask(request, descriptors)?;
        self.answer(ticket)
    }

    /// Sends a request with these named descriptors. Further requests can be sent before its reply is waited for.
    pub fn ask(&mut self, request: &Request, descriptors: &[(&str, BorrowedFd<'_>)]) -> Result<Ticket, Error> {
        let (names, descriptors): (Vec<_>, Vec<_>) = descriptors.iter().copied().unzip();
        let (number, packet) = self.codec.encode(request, &names)?;
        socket::send(&self.socket, &packet, &descriptors).map_err(|errno| match errno {
            Errno::PIPE | Errno::CONNRESET => Error::Closed,
            errno => Error::Io(errno),
        })?;
        self.answers.insert(number, None);
        Ok(Ticket(number))
    }

    /// Waits for the reply to a request.
    pub fn answer(&mut self, Ticket(number): Ticket) -> Result<Answer, Error> {
        loop {
            if let Some(outcome) = self.answers.get_mut(&number).and_then(Option::take) {
                self.answers.remove(&number);
                return outcome;
            }
            self.receive()?;
        }
    }

    /// The next event, without waiting: a kept one, else one in the socket.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        while self.events.is_empty() {
            let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            if rustix::io::retry_on_intr(|| poll(&mut ready, Some(&now))).map_err(Error::Io)? == 0 {
                return Ok(None);
            }
            self.receive()?;
        }
        Ok(self.events.pop_front())
    }

    /// Waits for the next event.
    pub fn wait_event(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.receive()?;
        }
    }

    /// Whether events are kept: a wait for the descriptor would miss them.
    pub fn has_kept_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Ends waits with [`Error::Interrupted`] when this descriptor is readable.
    pub fn interrupt_on(&mut self, descriptor: impl AsFd) -> Result<(), Error> {
        let copy = rustix::io::fcntl_dupfd_cloexec(descriptor, 3).map_err(Error::Io)?;
        self.interrupt = Some(copy);
        Ok(())
    }

    /// Undoes [`Self::interrupt_on`].
    pub fn interrupt_never(&mut self) {
        self.interrupt = None;
    }

    /// Pings the service manager's watchdog while a reply is waited for. The helper has a watchdog of its own.
    pub fn keep_alive(&mut self, keepalive: Option<Keepalive>) {
        self.keepalive = keepalive;
    }

    /// Sleeps, with the same watchdog pings and interrupts.
    pub fn sleep(&self, time: Duration) -> Result<(), Error> {
        self.ping();
        let time = Timespec::try_from(time).map_err(|_| Error::Io(Errno::INVAL))?;
        let mut interrupts: Vec<_> =
            self.interrupt.iter().map(|interrupt| PollFd::new(interrupt, PollFlags::IN)).collect();
        match rustix::io::retry_on_intr(|| poll(&mut interrupts, Some(&time))).map_err(Error::Io)? {
            0 => Ok(()),
            _ => Err(Error::Interrupted),
        }
    }

    /// The socket and the codec, for an event-driven client that takes over the connection. No reply may be pending.
    pub fn into_parts(self) -> (OwnedFd, Codec) {
        (self.socket, self.codec)
    }

    fn ping(&self) {
        if let Some(keepalive) = &self.keepalive {
            (keepalive.ping)();
        }
    }

    fn wait(&self) -> Result<(), Error> {
        let mut ready = vec![PollFd::new(&self.socket, PollFlags::IN)];
        ready.extend(self.interrupt.iter().map(|interrupt| PollFd::new(interrupt, PollFlags::IN)));
        let interval = self.keepalive.as_ref().and_then(|keepalive| Timespec::try_from(keepalive.interval).ok());
        while rustix::io::retry_on_intr(|| poll(&mut ready, interval.as_ref())).map_err(Error::Io)? == 0 {
            self.ping();
        }
        match ready.get(1).is_some_and(|interrupt| !interrupt.revents().is_empty()) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    /// Waits for one packet, and stores the reply or event.
    fn receive(&mut self) -> Result<(), Error> {
        self.wait()?;
        let (length, descriptors) = match socket::receive(&self.socket, &mut self.buffer) {
            Ok(Some(received)) => received,
            Ok(None) | Err(Errno::CONNRESET) => return Err(Error::Closed),
            Err(errno) => return Err(Error::Io(errno)),
        };
        match codec::decode(self.buffer.get(..length).unwrap_or_default(), descriptors)? {
            None => {}
            Some(Incoming::Event(event)) => self.events.push_back(event),
            Some(Incoming::Answer(number, outcome)) => match self.answers.get_mut(&number) {
                Some(answer @ None) => *answer = Some(outcome),
                _ => return Err(Error::Protocol("a reply without a request")),
            },
        }
        Ok(())
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
    use casemate_wire::frozen::{Containers, Welcome};
    use casemate_wire::{Digest, Envelope, Exit, Exited, State};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    /// A connection whose other end replies to each request with the next batch of packets, and then closes.
    fn connection(batches: Vec<Vec<Vec<u8>>>) -> OwnedFd {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        std::thread::spawn(move || {
            let mut buffer = vec![0; MAX_MESSAGE];
            for batch in batches {
                socket::receive(&theirs, &mut buffer).unwrap();
                for packet in batch {
                    socket::send(&theirs, &packet, &[]).unwrap();
                }
            }
        });
        ours
    }

    fn welcome(protocol: u16) -> Vec<Vec<u8>> {
        vec![Reply::Welcome(Welcome { protocol }).packet(1, &[]).unwrap()]
    }

    fn exited() -> Event {
        let exit = Exit { code: 0, signal: None, oom_kills: 0, at: 0 };
        Event::Exited(Exited { name: Name::new("a").unwrap(), exit })
    }

    #[test]
    fn event_before_a_reply_is_kept() {
        let later = Envelope { number: 0, name: "later", descriptors: Vec::new(), body: b"x" }.encode().unwrap();
        let second = vec![later, exited().packet(0, &[]).unwrap(), Reply::Done(()).packet(2, &[]).unwrap()];
        let mut client = Client::connect(connection(vec![welcome(PROTOCOL), second]), true).unwrap();
        client.done(&Request::Quit(())).unwrap();
        assert!(client.has_kept_events());
        assert_eq!(client.next_event().unwrap(), Some(exited()));
    }

    #[test]
    fn helper_of_another_protocol_is_accepted_and_a_reply_with_a_wrong_number_is_not() {
        let done = |number| vec![Reply::Done(()).packet(number, &[]).unwrap()];
        for protocol in [0, PROTOCOL + 1, u16::MAX] {
            let mut client = Client::connect(connection(vec![welcome(protocol), done(2), done(9)]), false).unwrap();
            client.done(&Request::Quit(())).unwrap();
            assert!(matches!(client.done(&Request::Quit(())), Err(Error::Protocol(_))));
            assert!(matches!(client.done(&Request::Quit(())), Err(Error::Closed)));
        }
    }

    #[test]
    fn reply_of_another_kind_fails_its_request_only() {
        let layers = vec![Reply::Started(()).packet(2, &[]).unwrap()];
        let done = vec![Reply::Done(()).packet(3, &[]).unwrap()];
        let mut client = Client::connect(connection(vec![welcome(1), layers, done]), false).unwrap();
        assert!(matches!(client.layers(), Err(Error::Answer(_))));
        client.done(&Request::Quit(())).unwrap();
    }

    #[test]
    fn containers_of_all_pages_are_listed() {
        let container = |text: &str| Container {
            name: Name::new(text).unwrap(),
            digest: Digest::from_bytes([0; 32]),
            started: 0,
            state: State::Running,
        };
        let page = |number, names: &[&str], more| {
            let containers = names.iter().map(|name| container(name)).collect();
            vec![Reply::Containers(Containers { containers, more }).packet(number, &[]).unwrap()]
        };
        let pages = vec![welcome(1), page(2, &["a", "b"], true), page(3, &["c"], false)];
        let all = Client::connect(connection(pages), false).unwrap().containers().unwrap();
        assert_eq!(all, ["a", "b", "c"].map(container));
    }
}
