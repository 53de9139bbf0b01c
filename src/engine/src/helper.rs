//! The connection to the helper for the event loop: requests are queued until the socket accepts them, and each reply comes with the
//! request that it answers. Nothing here waits.

use casemate_client::{Answer, Codec, Error, codec};
use casemate_sys::socket;
use casemate_wire::{Event, Exit, Exited, MAX_MESSAGE, Name, Request};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// The request that a reply answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestKind {
    /// The list of containers.
    Containers,
    /// The descriptors of a container that an earlier manager started.
    Attach(Name),
    /// A start.
    Start(Name),
    /// A signal, a kill, a forget: it may come too late, so an error is ignored.
    BestEffort,
}

/// A message of the helper.
#[derive(Debug)]
pub enum Incoming {
    /// The reply to a request.
    Answer {
        /// The request.
        kind: RequestKind,
        /// The reply with its descriptors, or the error; then nothing is left of the request.
        answer: Result<Answer, Error>,
    },
    /// A container's pid 1 has ended.
    Exited {
        /// The container.
        name: Name,
        /// Its exit status.
        exit: Exit,
    },
}

/// The connection.
#[derive(Debug)]
pub struct Helper {
    socket: Rc<OwnedFd>,
    codec: Codec,
    pending: BTreeMap<u32, RequestKind>,
    outgoing: VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Helper {
    /// Takes over a connection after its hello, and makes it non-blocking.
    pub fn new((socket, codec): (OwnedFd, Codec)) -> Result<Self, Errno> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket: Rc::new(socket),
            codec,
            pending: BTreeMap::new(),
            outgoing: VecDeque::new(),
            buffer: vec![0; MAX_MESSAGE],
        })
    }

    /// The socket, to register.
    pub fn socket(&self) -> &Rc<OwnedFd> {
        &self.socket
    }

    /// Whether requests are queued.
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Queues and sends a request.
    pub fn send_request(&mut self, request: &Request, kind: RequestKind) -> Result<(), Error> {
        let (number, packet) = self.codec.encode(request, &[])?;
        self.pending.insert(number, kind);
        self.outgoing.push_back(packet);
        self.send()
    }

    /// Sends queued requests until the socket is full.
    pub fn send(&mut self) -> Result<(), Error> {
        while let Some(packet) = self.outgoing.front() {
            match socket::send(&*self.socket, packet, &[]) {
                Ok(()) => drop(self.outgoing.pop_front()),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Error::Closed),
                Err(errno) => return Err(Error::Io(errno)),
            }
        }
        Ok(())
    }

    /// The next reply or event, if one has arrived.
    pub fn receive(&mut self) -> Result<Option<Incoming>, Error> {
        loop {
            let (length, descriptors) = match socket::receive(self.socket.as_fd(), &mut self.buffer) {
                Ok(Some(received)) => received,
                Ok(None) | Err(Errno::CONNRESET) => return Err(Error::Closed),
                Err(Errno::AGAIN) => return Ok(None),
                Err(errno) => return Err(Error::Io(errno)),
            };
            match codec::decode(self.buffer.get(..length).unwrap_or_default(), descriptors)? {
                // An event of a later version, or of a request that the manager does not make.
                None | Some(codec::Incoming::Event(Event::ProcessExited(_))) => {}
                Some(codec::Incoming::Event(Event::Exited(Exited { name, exit }))) => {
                    return Ok(Some(Incoming::Exited { name, exit }));
                }
                Some(codec::Incoming::Answer(number, answer)) => {
                    let unknown = Error::Protocol("a reply without a request");
                    let kind = self.pending.remove(&number).ok_or(unknown)?;
                    return Ok(Some(Incoming::Answer { kind, answer }));
                }
            }
        }
    }
}
