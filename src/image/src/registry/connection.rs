//! A connection to casemate-fetch, which is one process of it: the configuration once, then one transfer after another.
//!
//! Downloaded bytes go to the caller, who verifies them. Replies are decoded to their last byte.

use casemate_error::Code;
use casemate_fetch_wire::{
    Cause, Done, Failure, FetchConfig, Get, Put, Reply, Request, Step, TooLong, decode_reply, encode, encode_config,
};
use casemate_sys::socket;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};

/// The longest reply: a failure with the reasons of several servers.
const MAX_REPLY: usize = 16 * 1024;
/// Capacity of a pipe, where the kernel grants it: more bytes for each switch between the two processes.
const PIPE: usize = 1 << 20;
const CHUNK: usize = 256 * 1024;

/// A connection to casemate-fetch.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    chunk: Vec<u8>,
}

/// Why a transfer failed.
#[derive(Debug)]
pub enum Error {
    /// A step of casemate-fetch failed.
    Failed(Failure),
    /// A system call here failed.
    Io(io::Error),
    /// The bytes to upload cannot be read.
    Source(io::Error),
    /// casemate-fetch has ended, or its reply does not fit the request.
    Protocol(&'static str),
    /// The file's tables do not fit into a configuration.
    Config(TooLong),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => {
                let Failure { step, server, status, errno, cause: _, reason } = failure;
                if !server.is_empty() {
                    write!(f, "{server}: ")?;
                }
                f.write_str(step.as_str())?;
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
            Self::Source(error) => write!(f, "read the bytes to upload: {error}"),
            Self::Protocol(what) => write!(f, "casemate-fetch: {what}"),
            Self::Config(error) => write!(f, "casemate-fetch: configure: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// The exit code that the error leads to.
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
        // EACCES at connect(2): Landlock refuses the port.
        let refused_port = failure.errno == Some(Errno::ACCESS.raw_os_error());
        match (failure.step, failure.status) {
            _ if failure.cause == Some(Cause::UnknownIssuer) => {
                Some("where its certificate authority is a private one, give that as `ca` in its table")
            }
            _ if failure.cause == Some(Cause::NoTls) => {
                Some("this registry answers without TLS: `insecure = true` in its table allows that")
            }
            (Step::LogIn, Some(401 | 403)) => {
                Some("give its table in the file an `auth_file` or a `credential` that the registry accepts")
            }
            (Step::Connect, _) if refused_port => {
                Some("the port is not in the file: add it to `ports` of the registry's table")
            }
            (Step::Resolve, _) => Some("check its name, and /etc/resolv.conf"),
            (Step::Request, Some(404)) => Some("check the image's name and digest, and whether it was pushed there"),
            _ => None,
        }
    }
}

impl Connection {
    /// Sends the configuration, and waits until casemate-fetch is confined to it.
    pub fn open(socket: OwnedFd, config: &FetchConfig) -> Result<Self, Error> {
        let bytes = zeroize::Zeroizing::new(encode_config(config).map_err(Error::Config)?);
        let memory = rustix::fs::memfd_create("casemate-fetch-config", MemfdFlags::CLOEXEC).map_err(io_error)?;
        let mut file = File::from(memory);
        file.write_all(&bytes).and_then(|()| file.rewind()).map_err(Error::Io)?;
        let connection = Self { socket, chunk: vec![0; CHUNK] };
        connection.send(&Request::Configure, &file)?;
        match connection.reply()? {
            Reply::Ready => Ok(connection),
            Reply::Failed(failure) => Err(Error::Failed(failure)),
            Reply::Done(_) => Err(Error::Protocol("not the reply to its configuration")),
        }
    }

    /// Duplicates the descriptor. Shutting the duplicate down ends a transfer that runs in another thread.
    pub fn descriptor(&self) -> Result<OwnedFd, Error> {
        rustix::io::fcntl_dupfd_cloexec(&self.socket, 3).map_err(io_error)
    }

    /// Downloads one object; `sink` gets its bytes in order. An error of the sink ends the download.
    pub fn get<E: From<Error>>(&mut self, get: Get, sink: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<Done, E> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(io_error)?;
        // An ordinary user may have reached the limit of all their pipes (pipe(7)); then the pipe stays smaller.
        let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE);
        self.send(&Request::Get(get), &write)?;
        drop(write);
        let drained = self.drain(File::from(read), sink);
        // The reply belongs to this request even if the sink failed.
        let reply = self.reply()?;
        drained?;
        match reply {
            Reply::Done(done) => Ok(done),
            Reply::Failed(failure) => Err(Error::Failed(failure).into()),
            Reply::Ready => Err(Error::Protocol("not the reply to a request").into()),
        }
    }

    /// Uploads one object. casemate-fetch does not read the bytes of one that the registry has.
    pub fn put(&mut self, put: Put, source: &mut dyn Read) -> Result<(), Error> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(io_error)?;
        let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE);
        self.send(&Request::Put(put), &read)?;
        drop(read);
        let mut pipe = File::from(write);
        let filled = self.fill(&mut pipe, source);
        drop(pipe);
        // An error of the source explains why casemate-fetch got too little; its own error explains why it closed the pipe.
        let reply = self.reply()?;
        filled?;
        match reply {
            Reply::Done(_) => Ok(()),
            Reply::Failed(failure) => Err(Error::Failed(failure)),
            Reply::Ready => Err(Error::Protocol("not the reply to a request")),
        }
    }

    fn fill(&mut self, pipe: &mut File, source: &mut dyn Read) -> Result<(), Error> {
        loop {
            let count = match source.read(&mut self.chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Source(error)),
            };
            match pipe.write_all(self.chunk.get(..count).unwrap_or_default()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Error::Io(error)),
            }
        }
    }

    fn drain<E: From<Error>>(&mut self, mut pipe: File, sink: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        loop {
            match pipe.read(&mut self.chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => sink(self.chunk.get(..count).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Io(error).into()),
            }
        }
    }

    fn send(&self, request: &Request, descriptor: &impl AsFd) -> Result<(), Error> {
        let bytes = encode(request).map_err(|_| Error::Protocol("the request is longer than a packet"))?;
        socket::send(&self.socket, &bytes, &[descriptor.as_fd()]).map_err(|errno| match errno {
            Errno::PIPE | Errno::CONNRESET => Error::Protocol(ENDED),
            errno => io_error(errno),
        })
    }

    fn reply(&self) -> Result<Reply, Error> {
        let mut buffer = vec![0; MAX_REPLY];
        match socket::receive(&self.socket, &mut buffer) {
            Ok(Some((length, _))) => decode_reply(buffer.get(..length).unwrap_or_default())
                .map_err(|_| Error::Protocol("its reply is malformed")),
            Ok(None) | Err(Errno::CONNRESET) => Err(Error::Protocol(ENDED)),
            Err(errno) => Err(io_error(errno)),
        }
    }
}

const ENDED: &str = "it has ended without a reply; the program lies beside `casemate`, and has to be executable there";

fn io_error(errno: Errno) -> Error {
    Error::Io(errno.into())
}

impl From<Error> for casemate_error::Error {
    fn from(error: Error) -> Self {
        let report = Self::from_display(error.code(), &error);
        match error.remedy() {
            Some(remedy) => report.remedy(remedy),
            None => report,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_fetch_wire::{Object, PushObject, decode_request};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    /// A stand-in for casemate-fetch: for each request, writes these bytes into its pipe and sends this reply.
    fn fetch_with(turns: Vec<(Vec<u8>, Reply)>) -> OwnedFd {
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

    fn connection(turns: Vec<(Vec<u8>, Reply)>) -> Connection {
        let turns = [vec![(Vec::new(), Reply::Ready)], turns].concat();
        Connection::open(fetch_with(turns), &FetchConfig { registries: Vec::new() }).unwrap()
    }

    fn done() -> Reply {
        Reply::Done(Done { endpoint: 0, media_type: String::new() })
    }

    #[test]
    fn get_returns_bytes_in_order_and_then_the_reply() {
        let long: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let failure = Failure {
            step: Step::Request,
            server: "a:443".to_owned(),
            status: Some(404),
            errno: None,
            cause: None,
            reason: "x".to_owned(),
        };
        let mut connection = connection(vec![(long.clone(), done()), (b"part".to_vec(), Reply::Failed(failure))]);
        let mut found = Vec::new();
        let mut sink = |bytes: &[u8]| {
            found.extend_from_slice(bytes);
            Ok::<(), Error>(())
        };
        connection.get(get(), &mut sink).unwrap();
        let error = connection.get(get(), &mut sink).unwrap_err();
        let ended = connection.get(get(), &mut sink);
        assert_eq!(error.to_string(), "a:443: request: HTTP status 404: x");
        assert!(matches!(ended, Err(Error::Protocol(_))));
        assert!(found == [&long[..], b"part"].concat());
    }

    #[test]
    fn put_reports_the_error_of_its_source_first() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(Errno::IO.into())
            }
        }
        let failure = Failure {
            step: Step::Send,
            server: String::new(),
            status: None,
            errno: None,
            cause: None,
            reason: "ended".to_owned(),
        };
        let mut connection =
            connection(vec![(Vec::new(), Reply::Failed(failure.clone())), (Vec::new(), Reply::Failed(failure))]);
        let object = PushObject::Blob(casemate_wire::Digest::from_bytes([1; 32]));
        let put = Put { registry: 0, repository: "a".to_owned(), size: 9, object };
        assert!(matches!(connection.put(put.clone(), &mut Broken), Err(Error::Source(_))));
        assert!(matches!(connection.put(put, &mut &b"short"[..]), Err(Error::Failed(_))));
    }

    #[test]
    fn error_of_a_sink_ends_one_request_and_not_the_connection() {
        let mut connection = connection(vec![(vec![1; 3_000_000], done()), (b"x".to_vec(), done())]);
        let full = connection.get(get(), &mut |_| Err::<(), _>(Error::Protocol("full")));
        assert!(matches!(full, Err(Error::Protocol("full"))));
        connection
            .get(get(), &mut |bytes| {
                assert_eq!(bytes, b"x");
                Ok::<(), Error>(())
            })
            .unwrap();
    }
}
