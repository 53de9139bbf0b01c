//! The connection to the helper for the event loop: what is asked goes out when the socket takes it, and answers come back as values,
//! each with what it was asked for. Nothing here waits.

use casemate_client::ClientError as Error;
use casemate_sys::socket;
use casemate_wire::{Answer, Event, Exit, Failure, MAX_MESSAGE, Name, Packet, Reply, Request};
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
        answer: Result<(Reply, Vec<OwnedFd>), Failure>,
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
    last: u32,
    asked: BTreeMap<u32, Question>,
    outgoing: VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Helper {
    /// Goes on with a connection whose greeting is over, without waiting from now on.
    pub fn new(socket: OwnedFd) -> Result<Self, Errno> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket: Rc::new(socket),
            last: casemate_client::GREETING,
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
    pub fn ask(&mut self, request: Request, question: Question) -> Result<(), Error> {
        self.last = self.last.wrapping_add(1);
        let packet = casemate_wire::encode(&Packet { number: self.last, request })
            .map_err(|_| Error::Protocol("the request is longer than a packet"))?;
        self.asked.insert(self.last, question);
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

    /// The next thing that the helper says, if it has said one.
    pub fn receive(&mut self) -> Result<Option<Incoming>, Error> {
        let (length, descriptors) = match socket::receive(self.socket.as_fd(), &mut self.buffer) {
            Ok(Some(received)) => received,
            Ok(None) | Err(Errno::CONNRESET) => return Err(Error::Closed),
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(Error::Io(errno)),
        };
        let bytes = self.buffer.get(..length).unwrap_or_default();
        match casemate_wire::decode(bytes).map_err(|_| Error::Protocol("it is malformed"))? {
            Answer::Event(Event::Exited { name, exit }) => Ok(Some(Incoming::Exited { name, exit })),
            Answer::Reply { number, reply } => {
                let question = self.asked.remove(&number).ok_or(Error::Protocol("an answer to another question"))?;
                let answer = match reply {
                    Reply::Failed(failure) => Err(failure),
                    reply => Ok((reply, descriptors)),
                };
                Ok(Some(Incoming::Answer { question, answer }))
            }
        }
    }
}
