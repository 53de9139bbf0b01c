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

/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 16 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// Nobody listens: no manager runs.
    NobodyThere,
    /// It runs, and cannot be talked to.
    Io(io::Error),
    /// What it said is no answer.
    Nonsense(serde_json::Error),
    /// It says no.
    Refused {
        /// Why.
        reason: String,
        /// The exit code that goes with it.
        code: u8,
    },
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyThere => f.write_str("no manager runs here"),
            Self::Io(error) => write!(f, "talk to the manager: {error}"),
            Self::Nonsense(error) => write!(f, "read the manager's answer: {error}"),
            Self::Refused { reason, .. } => f.write_str(reason),
        }
    }
}

impl std::error::Error for AskError {}

/// The answers to one request.
#[derive(Debug)]
pub struct Answers(BufReader<UnixStream>, Notifier);

/// Asks the manager that listens there.
pub fn ask(socket: &Path, request: &Request) -> Result<Answers, AskError> {
    let mut stream = connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NobodyThere,
        _ => AskError::Io(error),
    })?;
    let mut line = serde_json::to_vec(request).map_err(AskError::Nonsense)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(AskError::Io)?;
    Ok(Answers(BufReader::new(stream), Notifier::default()))
}

/// By way of the directory's descriptor, as an address has room for 107 bytes of path only. Whoever owns the directory can put
/// a link to any other socket into it, which root may open: so who listens has to be that owner.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (Some(directory), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = std::fs::File::open(directory)?;
    let descriptor = rustix::fd::AsRawFd::as_raw_fd(&directory).to_string();
    let stream = UnixStream::connect(Path::new("/proc/self/fd").join(descriptor).join(name))?;
    let (owner, listens) = (directory.metadata()?.uid(), peer_credentials(&stream)?.uid);
    if listens == owner {
        return Ok(stream);
    }
    Err(io::Error::other(format!("user {listens} listens, and not user {owner}, whose directory it is")))
}

impl Answers {
    /// Has the service manager learn, while an answer takes its time, that it is worth waiting for.
    #[must_use]
    pub fn meanwhile(mut self, notifier: Notifier) -> Self {
        self.1 = notifier;
        self
    }

    fn wait(&self) -> io::Result<()> {
        let Some(pause) = self.1.pause().filter(|_| self.0.buffer().is_empty()) else { return Ok(()) };
        let pause = Timespec::try_from(pause).map_err(io::Error::other)?;
        let mut ready = [PollFd::new(self.0.get_ref(), PollFlags::IN)];
        while rustix::io::retry_on_intr(|| poll(&mut ready, Some(&pause)))? == 0 {
            self.1.alive();
        }
        Ok(())
    }

    /// The next answer; a refusal is an error, and so is the end.
    pub fn one(&mut self) -> Result<Response, AskError> {
        self.wait().map_err(AskError::Io)?;
        let mut line = Vec::new();
        if self.0.by_ref().take(MAX_ANSWER).read_until(b'\n', &mut line).map_err(AskError::Io)? == 0 {
            return Err(AskError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(&line).map_err(AskError::Nonsense)? {
            Response::Failed { reason, code } => Err(AskError::Refused { reason, code }),
            response => Ok(response),
        }
    }

    /// What follows [`Response::Records`].
    pub fn records(self) -> BufReader<UnixStream> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_20_a_link_to_a_socket_of_somebody_else_is_not_talked_to() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: giving a directory away needs root");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let _listening = std::os::unix::net::UnixListener::bind(base.path().join("other")).unwrap();
        let run = base.path().join("run");
        std::fs::create_dir(&run).unwrap();
        std::os::unix::fs::symlink("../other", run.join("control.sock")).unwrap();
        assert!(ask(&run.join("control.sock"), &Request::Down {}).is_ok());
        std::os::unix::fs::chown(&run, Some(4242), None).unwrap();
        let error = ask(&run.join("control.sock"), &Request::Down {}).unwrap_err().to_string();
        assert!(error.contains("and not user 4242"), "{error}");
    }
}
