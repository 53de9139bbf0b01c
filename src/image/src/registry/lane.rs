//! One connection to casemate-fetch, which is one process of it: terms once, then one thing after another.
//!
//! What comes is not believed: bytes are handed on for the caller to prove, replies are decoded to their last byte.

use casemate_error::Code;
use casemate_fetch_wire::{
    Done, Failure, Get, Put, Reply, Request, Step, Terms, TooLong, decode_reply, encode, encode_terms,
};
use casemate_sys::socket;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};

/// The longest reply: a failure with the words of several servers.
const MAX_REPLY: usize = 16 * 1024;
/// How much waits in a pipe, where the kernel lets us: fewer changes between the two processes.
const PIPE: usize = 1 << 20;
const CHUNK: usize = 256 * 1024;

/// A connection.
#[derive(Debug)]
pub struct Lane {
    socket: OwnedFd,
    chunk: Vec<u8>,
}

/// Why there are no bytes, or not all.
#[derive(Debug)]
pub enum LaneError {
    /// A step of casemate-fetch failed.
    Failed(Failure),
    /// A system call here failed.
    Io(io::Error),
    /// What is to be sent cannot be read.
    Source(io::Error),
    /// casemate-fetch has ended, or speaks nonsense.
    Protocol(&'static str),
    /// The file's tables are too much.
    Terms(TooLong),
}

impl fmt::Display for LaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => {
                let Failure { step, server, status, errno, reason } = failure;
                if !server.is_empty() {
                    write!(f, "{server}: ")?;
                }
                f.write_str(step.words())?;
                if let Some(status) = status {
                    write!(f, ": HTTP status {status}")?;
                }
                if let Some(errno) = errno {
                    write!(f, ": {}", Errno::from_raw_os_error(*errno))?;
                }
                if !reason.is_empty() {
                    write!(f, ": {reason}")?;
                }
                Ok(())
            }
            Self::Io(error) => write!(f, "casemate-fetch: exchange a packet: {error}"),
            Self::Source(error) => write!(f, "read what is to be sent: {error}"),
            Self::Protocol(what) => write!(f, "casemate-fetch: {what}"),
            Self::Terms(error) => write!(f, "casemate-fetch: tell its terms: {error}"),
        }
    }
}

impl std::error::Error for LaneError {}

impl LaneError {
    /// What it means to a script.
    pub fn code(&self) -> Code {
        match self {
            Self::Failed(Failure { step: Step::Confine, .. }) => Code::NotEnforceable,
            Self::Failed(Failure { step: Step::Compare, .. }) => Code::Verification,
            _ => Code::Failed,
        }
    }

    /// What to do, where that is known.
    pub fn remedy(&self) -> Option<&'static str> {
        let Self::Failed(failure) = self else { return None };
        let refused_here = failure.errno == Some(Errno::ACCESS.raw_os_error());
        match (failure.step, failure.status) {
            (Step::LogIn, Some(401 | 403)) => {
                Some("give its table in the file an auth_file or a credential that it takes")
            }
            (Step::Connect, _) if refused_here => {
                Some("its port is not one of the file's: add it to `ports` of the registry's table")
            }
            (Step::Connect, _) if failure.reason.contains("UnknownIssuer") => {
                Some("where its certificate authority is a private one, give that as `ca` in its table")
            }
            (Step::Resolve, _) => Some("look at its name, and at /etc/resolv.conf"),
            (Step::Request, Some(404)) => Some("look at the image's name and digest, and whether it was pushed there"),
            _ => None,
        }
    }
}

impl Lane {
    /// Tells the terms, and waits until casemate-fetch has shut itself in to them.
    pub fn open(socket: OwnedFd, terms: &Terms) -> Result<Self, LaneError> {
        let bytes = zeroize::Zeroizing::new(encode_terms(terms).map_err(LaneError::Terms)?);
        let memory = rustix::fs::memfd_create("casemate-terms", MemfdFlags::CLOEXEC).map_err(io_error)?;
        let mut file = File::from(memory);
        file.write_all(&bytes).and_then(|()| file.rewind()).map_err(LaneError::Io)?;
        let lane = Self { socket, chunk: vec![0; CHUNK] };
        lane.send(&Request::Terms, &file)?;
        match lane.reply()? {
            Reply::Ready => Ok(lane),
            Reply::Failed(failure) => Err(LaneError::Failed(failure)),
            Reply::Done(_) => Err(LaneError::Protocol("not the answer to its terms")),
        }
    }

    /// Another descriptor of the connection: to shut it down ends what the lane is at.
    pub fn connection(&self) -> Result<OwnedFd, LaneError> {
        rustix::io::fcntl_dupfd_cloexec(&self.socket, 3).map_err(io_error)
    }

    /// Brings one thing; `sink` gets its bytes in order. An error of the sink ends it.
    pub fn get<E: From<LaneError>>(
        &mut self,
        get: Get,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Done, E> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(io_error)?;
        // An ordinary user may have used up what all their pipes may hold (pipe(7)): then it is a smaller one.
        let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE);
        self.send(&Request::Get(get), &write)?;
        drop(write);
        let poured = self.pour(File::from(read), sink);
        // The answer belongs to this request, whatever has become of its bytes.
        let reply = self.reply()?;
        poured?;
        match reply {
            Reply::Done(done) => Ok(done),
            Reply::Failed(failure) => Err(LaneError::Failed(failure).into()),
            Reply::Ready => Err(LaneError::Protocol("not the answer to a request").into()),
        }
    }

    /// Sends one thing. A registry that has it already does not want its bytes.
    pub fn put(&mut self, put: Put, source: &mut dyn Read) -> Result<(), LaneError> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(io_error)?;
        let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE);
        self.send(&Request::Put(put), &read)?;
        drop(read);
        let mut pipe = File::from(write);
        let filled = self.fill(&mut pipe, source);
        drop(pipe);
        // What casemate-fetch says of it counts more than that it has closed the pipe, and less than why it got too little.
        let reply = self.reply()?;
        filled?;
        match reply {
            Reply::Done(_) => Ok(()),
            Reply::Failed(failure) => Err(LaneError::Failed(failure)),
            Reply::Ready => Err(LaneError::Protocol("not the answer to a request")),
        }
    }

    fn fill(&mut self, pipe: &mut File, source: &mut dyn Read) -> Result<(), LaneError> {
        loop {
            let count = match source.read(&mut self.chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LaneError::Source(error)),
            };
            match pipe.write_all(self.chunk.get(..count).unwrap_or_default()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(LaneError::Io(error)),
            }
        }
    }

    fn pour<E: From<LaneError>>(
        &mut self,
        mut pipe: File,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            match pipe.read(&mut self.chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => sink(self.chunk.get(..count).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LaneError::Io(error).into()),
            }
        }
    }

    fn send(&self, request: &Request, descriptor: &impl AsFd) -> Result<(), LaneError> {
        let bytes = encode(request).map_err(|_| LaneError::Protocol("the request is longer than a packet"))?;
        socket::send(&self.socket, &bytes, &[descriptor.as_fd()]).map_err(|errno| match errno {
            Errno::PIPE | Errno::CONNRESET => LaneError::Protocol(ENDED),
            errno => io_error(errno),
        })
    }

    fn reply(&self) -> Result<Reply, LaneError> {
        let mut buffer = vec![0; MAX_REPLY];
        match socket::receive(&self.socket, &mut buffer) {
            Ok(Some((length, _))) => decode_reply(buffer.get(..length).unwrap_or_default())
                .map_err(|_| LaneError::Protocol("its answer is malformed")),
            Ok(None) | Err(Errno::CONNRESET) => Err(LaneError::Protocol(ENDED)),
            Err(errno) => Err(io_error(errno)),
        }
    }
}

const ENDED: &str = "it has ended without an answer; it lies beside `casemate`, and runs where that one does";

fn io_error(errno: Errno) -> LaneError {
    LaneError::Io(errno.into())
}

impl From<LaneError> for casemate_error::Error {
    fn from(error: LaneError) -> Self {
        let report = Self::told(error.code(), &error);
        match error.remedy() {
            Some(remedy) => report.remedy(remedy),
            None => report,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_fetch_wire::{Object, Sent, decode_request};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    /// casemate-fetch, played: writes each of these into its pipe and answers with it.
    fn played(turns: Vec<(Vec<u8>, Reply)>) -> OwnedFd {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 4096];
            for (bytes, reply) in turns {
                let Ok(Some((length, mut descriptors))) = socket::receive(&theirs, &mut buffer) else { return };
                decode_request(&buffer[..length]).unwrap();
                let _ = File::from(descriptors.pop().unwrap()).write_all(&bytes);
                socket::send(&theirs, &encode(&reply).unwrap(), &[]).unwrap();
            }
        });
        ours
    }

    fn get() -> Get {
        Get { registry: 0, first: 0, repository: "a".to_owned(), object: Object::Tag("1".to_owned()) }
    }

    fn lane(turns: Vec<(Vec<u8>, Reply)>) -> Lane {
        let turns = [vec![(Vec::new(), Reply::Ready)], turns].concat();
        Lane::open(played(turns), &Terms { registries: Vec::new() }).unwrap()
    }

    fn done() -> Reply {
        Reply::Done(Done { endpoint: 0, media_type: String::new() })
    }

    #[test]
    fn bytes_come_in_order_and_end_with_the_answer() {
        let long: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let failure = Failure {
            step: Step::Request,
            server: "a:443".to_owned(),
            status: Some(404),
            errno: None,
            reason: "x".to_owned(),
        };
        let mut lane = lane(vec![(long.clone(), done()), (b"part".to_vec(), Reply::Failed(failure))]);
        let mut found = Vec::new();
        let mut sink = |bytes: &[u8]| {
            found.extend_from_slice(bytes);
            Ok::<(), LaneError>(())
        };
        lane.get(get(), &mut sink).unwrap();
        let error = lane.get(get(), &mut sink).unwrap_err();
        let ended = lane.get(get(), &mut sink);
        assert_eq!(error.to_string(), "a:443: request: HTTP status 404: x");
        assert!(matches!(ended, Err(LaneError::Protocol(_))));
        assert!(found == [&long[..], b"part"].concat());
    }

    #[test]
    fn why_there_was_too_little_to_send_counts_more_than_that_there_was() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(Errno::IO.into())
            }
        }
        let failure =
            Failure { step: Step::Send, server: String::new(), status: None, errno: None, reason: "ended".to_owned() };
        let mut lane = lane(vec![(Vec::new(), Reply::Failed(failure.clone())), (Vec::new(), Reply::Failed(failure))]);
        let what = Sent::Blob(casemate_wire::Digest::from_bytes([1; 32]));
        let put = Put { registry: 0, repository: "a".to_owned(), size: 9, what };
        assert!(matches!(lane.put(put.clone(), &mut Broken), Err(LaneError::Source(_))));
        assert!(matches!(lane.put(put, &mut &b"short"[..]), Err(LaneError::Failed(_))));
    }

    #[test]
    fn a_sink_that_has_enough_ends_one_request_and_not_the_lane() {
        let mut lane = lane(vec![(vec![1; 3_000_000], done()), (b"x".to_vec(), done())]);
        let full = lane.get(get(), &mut |_| Err::<(), _>(LaneError::Protocol("full")));
        assert!(matches!(full, Err(LaneError::Protocol("full"))));
        lane.get(get(), &mut |bytes| {
            assert_eq!(bytes, b"x");
            Ok::<(), LaneError>(())
        })
        .unwrap();
    }
}
