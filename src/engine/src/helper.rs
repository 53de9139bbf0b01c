//! The connection to the helper for the event loop: what is asked goes out when the socket takes it, and answers come back as values,
//! each with what it was asked for. Nothing here waits.

use casemate_client::{Answer, Codec, Error, codec};
use casemate_sys::socket;
use casemate_wire::{Event, Exit, Exited, MAX_MESSAGE, Name, Request};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// What an answer is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Which containers the helper has.
    Containers,
    /// The descriptors of one that an earlier manager started.
    Attach(Name),
    /// A start.
    Start(Name),
    /// A signal, a kill, a request to forget: they may come too late, so a refusal says nothing.
    Notice,
}

/// What the helper says.
#[derive(Debug)]
pub enum Incoming {
    /// The answer to a question.
    Answer {
        /// The question.
        question: Question,
        /// The answer with its descriptors, or what failed; then nothing of it is left.
        answer: Result<Answer, Error>,
    },
    /// A container's pid 1 has ended.
    Exited {
        /// The container.
        name: Name,
        /// How.
        exit: Exit,
    },
}

/// The connection.
#[derive(Debug)]
pub struct Helper {
    socket: Rc<OwnedFd>,
    codec: Codec,
    asked: BTreeMap<u32, Question>,
    outgoing: VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Helper {
    /// Goes on with a connection whose greeting is over, without waiting from now on.
    pub fn new((socket, codec): (OwnedFd, Codec)) -> Result<Self, Errno> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket: Rc::new(socket),
            codec,
            asked: BTreeMap::new(),
            outgoing: VecDeque::new(),
            buffer: vec![0; MAX_MESSAGE],
        })
    }

    /// The socket, to wait on.
    pub fn socket(&self) -> &Rc<OwnedFd> {
        &self.socket
    }

    /// Whether something waits until the socket takes it.
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Asks something.
    pub fn ask(&mut self, request: &Request, question: Question) -> Result<(), Error> {
        let (number, packet) = self.codec.encode(request, &[])?;
        self.asked.insert(number, question);
        self.outgoing.push_back(packet);
        self.send()
    }

    /// Sends what waits, as far as the socket takes it.
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

    /// The next answer or event, if one has come.
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
                    let unasked = Error::Protocol("an answer to a request that was not made");
                    let question = self.asked.remove(&number).ok_or(unasked)?;
                    return Ok(Some(Incoming::Answer { question, answer }));
                }
            }
        }
    }
}
