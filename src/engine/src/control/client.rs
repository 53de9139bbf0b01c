//! The verbs' side of the control socket.

use super::protocol::{Request, Response};
use crate::notify::Notifier;
use casemate_sys::socket::peer_credentials;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The longest response, in bytes.
const MAX_RESPONSE: u64 = 16 << 20;

/// Why a request has no response.
#[derive(Debug)]
pub enum Error {
    /// No manager listens on the socket.
    NotRunning,
    /// The connection failed.
    Io(io::Error),
    /// The response is not valid JSON of a known form.
    InvalidResponse(serde_json::Error),
    /// The manager refused the request.
    Refused {
        /// The reason.
        reason: String,
        /// The exit code that goes with it.
        code: u8,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("no manager runs"),
            Self::Io(error) => write!(f, "connection to the manager: {error}"),
            Self::InvalidResponse(error) => write!(f, "read the manager's response: {error}"),
            Self::Refused { reason, .. } => f.write_str(reason),
        }
    }
}

impl std::error::Error for Error {}

/// The responses to one request.
#[derive(Debug)]
pub struct Responses {
    stream: BufReader<UnixStream>,
    notifier: Notifier,
}

/// Sends a request to the manager that listens on this socket.
pub fn send(socket: &Path, request: &Request) -> Result<Responses, Error> {
    let mut stream = connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NotRunning,
        _ => Error::Io(error),
    })?;
    let mut line = serde_json::to_vec(request).map_err(Error::InvalidResponse)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(Error::Io)?;
    Ok(Responses { stream: BufReader::new(stream), notifier: Notifier::default() })
}

/// Connects through the directory's descriptor: a socket address has room for 107 bytes of path. The directory's owner can put a link to
/// another socket into it, which root could open: so the listener must be that owner.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (Some(directory), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = std::fs::File::open(directory)?;
    let descriptor = rustix::fd::AsRawFd::as_raw_fd(&directory).to_string();
    let stream = UnixStream::connect(Path::new("/proc/self/fd").join(descriptor).join(name))?;
    let owner = directory.metadata()?.uid();
    let listener = peer_credentials(&stream)?.uid;
    if listener == owner {
        return Ok(stream);
    }
    Err(io::Error::other(format!("the listener is user {listener}, not the directory's owner, user {owner}")))
}

impl Responses {
    /// Pings this service manager's watchdog while a response is waited for.
    #[must_use]
    pub fn with_keepalive(mut self, notifier: Notifier) -> Self {
        self.notifier = notifier;
        self
    }

    fn wait(&self) -> io::Result<()> {
        let Some(interval) = self.notifier.interval().filter(|_| self.stream.buffer().is_empty()) else {
            return Ok(());
        };
        let interval = Timespec::try_from(interval).map_err(io::Error::other)?;
        let mut ready = [PollFd::new(self.stream.get_ref(), PollFlags::IN)];
        while rustix::io::retry_on_intr(|| poll(&mut ready, Some(&interval)))? == 0 {
            self.notifier.ping();
        }
        Ok(())
    }

    /// Waits for the next response. A refusal and the end of the connection are errors.
    pub fn next_response(&mut self) -> Result<Response, Error> {
        self.wait().map_err(Error::Io)?;
        let mut line = Vec::new();
        if self.stream.by_ref().take(MAX_RESPONSE).read_until(b'\n', &mut line).map_err(Error::Io)? == 0 {
            return Err(Error::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(&line).map_err(Error::InvalidResponse)? {
            Response::Failed { reason, code } => Err(Error::Refused { reason, code }),
            response => Ok(response),
        }
    }

    /// The log records that follow [`Response::Records`].
    pub fn records(self) -> BufReader<UnixStream> {
        self.stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_20_link_to_a_socket_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: changing an owner needs root");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let _listening = std::os::unix::net::UnixListener::bind(base.path().join("other")).unwrap();
        let run = base.path().join("run");
        std::fs::create_dir(&run).unwrap();
        std::os::unix::fs::symlink("../other", run.join("control.sock")).unwrap();
        assert!(send(&run.join("control.sock"), &Request::Down {}).is_ok());
        std::os::unix::fs::chown(&run, Some(4242), None).unwrap();
        let error = send(&run.join("control.sock"), &Request::Down {}).unwrap_err().to_string();
        assert!(error.contains("owner, user 4242"), "{error}");
    }
}
