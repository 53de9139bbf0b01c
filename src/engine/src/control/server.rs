//! The manager's side of the control socket: bounded requests in, answers out, nobody waited for.
//!
//! Who connects is asked of the kernel (SO_PEERCRED): root and the manager's own user are served, besides the mode of the
//! socket and of its directory (threat row 20). A request that is too long, or that takes too long, ends its connection.

use super::protocol::{MAX_REQUEST, Request, Response};
use crate::logs::Reader;
use crate::reactor::{Interest, Reactor, Registration};
use casemate_sys::socket::peer_credentials;
use casemate_wire::Name;
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Connections at a time; one more is closed at once.
const MOST: usize = 64;
/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that are read from a log file at a time.
const PIECE: usize = 64 * 1024;

/// A connection's name within its server.
pub type Handle = u64;

/// The listening socket and its connections; `S` is what the reactor calls them.
#[derive(Debug)]
pub struct Server<S> {
    listener: Registration<S>,
    connections: BTreeMap<Handle, Connection<S>>,
    /// Connections that are given the log of a container.
    followers: BTreeMap<Name, BTreeSet<Handle>>,
    /// Connections whose output may be filled from a log.
    fillable: BTreeSet<Handle>,
    next: Handle,
    own: u32,
}

#[derive(Debug)]
struct Connection<S> {
    socket: Registration<S>,
    since: Instant,
    input: Vec<u8>,
    output: Vec<u8>,
    records: Option<Records>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The request is on its way.
    Asking,
    /// The answer is being found.
    Waiting,
    /// What is in the output is the rest.
    Closing,
}

#[derive(Debug)]
struct Records {
    container: Name,
    reader: Reader,
    follow: bool,
}

impl<S: Clone> Server<S> {
    /// Listens at the path in an open directory; an old socket there is replaced.
    pub fn listen(run: BorrowedFd<'_>, path: &Path, reactor: &Reactor<S>, source: S) -> Result<Self, Errno> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        match rustix::fs::unlinkat(run, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // Through /proc, as an address has room for 107 bytes of path only.
        let directory = Path::new("/proc/self/fd").join(rustix::fd::AsRawFd::as_raw_fd(&run).to_string());
        rustix::net::bind(&listener, &SocketAddrUnix::new(directory.join(name))?)?;
        rustix::fs::chmodat(run, name, Mode::from_raw_mode(0o600), AtFlags::empty())?;
        rustix::net::listen(&listener, 16)?;
        let own = rustix::process::geteuid().as_raw();
        let listener = reactor.register(&Rc::new(listener), Interest::Read, source)?;
        Ok(Self {
            listener,
            connections: BTreeMap::new(),
            followers: BTreeMap::new(),
            fillable: BTreeSet::new(),
            next: 0,
            own,
        })
    }

    /// Takes new connections; `source` is what the reactor calls one.
    pub fn admit(&mut self, reactor: &Reactor<S>, source: impl Fn(Handle) -> S) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(socket) = rustix::net::accept_with(&self.listener, flags) {
            let served = peer_credentials(&socket).is_ok_and(|peer| peer.uid == 0 || peer.uid == self.own);
            if !served || self.connections.len() >= MOST {
                continue;
            }
            let Ok(socket) = reactor.register(&Rc::new(socket), Interest::Read, source(self.next)) else { continue };
            let connection = Connection {
                socket,
                since: Instant::now(),
                input: Vec::new(),
                output: Vec::new(),
                records: None,
                state: State::Asking,
            };
            self.connections.insert(self.next, connection);
            self.next += 1;
        }
    }

    /// Does what a connection is ready for; gives its request when that is complete.
    pub fn serve(&mut self, handle: Handle) -> Option<Request> {
        let connection = self.connections.get_mut(&handle)?;
        let outcome = match connection.state {
            _ if !connection.output.is_empty() => connection.send().map(|()| None),
            State::Asking => connection.receive(),
            // There is nothing to read: its peer has gone.
            _ => Err(Errno::CONNRESET),
        };
        let finished = connection.state == State::Closing && connection.output.is_empty();
        match outcome {
            Ok(request) if !finished => {
                self.fillable.insert(handle);
                self.watch(handle);
                request
            }
            _ => {
                self.close(handle);
                None
            }
        }
    }

    /// One more answer. After the `last`, the connection ends once it is sent.
    pub fn answer(&mut self, handle: Handle, response: &Response, last: bool) {
        let Some(connection) = self.connections.get_mut(&handle) else { return };
        // A response is plain data: it always has a form.
        connection.output.extend(serde_json::to_vec(response).unwrap_or_default());
        connection.output.push(b'\n');
        connection.state = if last { State::Closing } else { State::Waiting };
        self.watch(handle);
    }

    /// The records of a container's log as the rest of the answer.
    pub fn stream(&mut self, handle: Handle, container: &Name, reader: Reader, follow: bool) {
        if let Some(connection) = self.connections.get_mut(&handle) {
            connection.records = Some(Records { container: container.clone(), reader, follow });
            self.followers.entry(container.clone()).or_default().insert(handle);
            self.fillable.insert(handle);
        }
    }

    /// Something was written to the log of this container.
    pub fn log_has_grown(&mut self, container: &Name) {
        if let Some(followers) = self.followers.get(container) {
            self.fillable.extend(followers);
        }
    }

    /// No more will be written to the log that this connection follows.
    pub fn end_of_log(&mut self, handle: Handle) {
        if let Some(records) = self.connections.get_mut(&handle).and_then(|c| c.records.as_mut()) {
            records.follow = false;
            self.fillable.insert(handle);
        }
    }

    /// Whether the connection is still there.
    pub fn is_open(&self, handle: Handle) -> bool {
        self.connections.contains_key(&handle)
    }

    /// Fills empty outputs from logs that have grown, and ends what has taken too long to ask.
    pub fn tick(&mut self, now: Instant) {
        for handle in std::mem::take(&mut self.fillable) {
            let Some(connection) = self.connections.get_mut(&handle) else { continue };
            match connection.refill() {
                Ok(()) => self.watch(handle),
                Err(_) => self.close(handle),
            }
        }
        let late = |connection: &Connection<S>| connection.state == State::Asking && now >= connection.since + PATIENCE;
        let late: Vec<Handle> =
            self.connections.iter().filter(|(_, connection)| late(connection)).map(|(handle, _)| *handle).collect();
        late.into_iter().for_each(|handle| self.close(handle));
    }

    /// When [`Self::tick`] has something to do though nothing is ready.
    pub fn next_moment(&self) -> Option<Instant> {
        let asking = self.connections.values().filter(|connection| connection.state == State::Asking);
        asking.map(|connection| connection.since + PATIENCE).min()
    }

    /// Waits for what a connection needs next.
    fn watch(&mut self, handle: Handle) {
        let Some(connection) = self.connections.get(&handle) else { return };
        let interest = match connection.state {
            _ if !connection.output.is_empty() => Interest::Write,
            State::Asking => Interest::Read,
            _ => Interest::HangUp,
        };
        if connection.socket.set_interest(interest).is_err() {
            self.close(handle);
        }
    }

    fn close(&mut self, handle: Handle) {
        let Some(connection) = self.connections.remove(&handle) else { return };
        if let Some(records) = connection.records
            && let Some(followers) = self.followers.get_mut(&records.container)
        {
            followers.remove(&handle);
            if followers.is_empty() {
                self.followers.remove(&records.container);
            }
        }
    }

    /// The end: a moment for the last answers to go out.
    pub fn finish(mut self) {
        let deadline = Instant::now() + Duration::from_secs(1);
        let handles: Vec<_> = self.connections.keys().copied().collect();
        for handle in handles {
            while let Some(connection) = self.connections.get_mut(&handle) {
                let sent = connection.refill().is_ok() && connection.send().is_ok();
                if !sent || connection.output.is_empty() || Instant::now() > deadline {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl<S> Connection<S> {
    fn receive(&mut self) -> Result<Option<Request>, Errno> {
        let mut buffer = [0; 4096];
        let count = match rustix::io::read(&self.socket, &mut buffer) {
            Ok(0) => return Err(Errno::CONNRESET),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        self.input.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else {
            return if self.input.len() < MAX_REQUEST { Ok(None) } else { Err(Errno::MSGSIZE) };
        };
        // One request a connection: what comes after it is not read.
        let request = self.input.get(..end).filter(|line| line.len() < MAX_REQUEST).unwrap_or_default();
        match serde_json::from_slice(request) {
            Ok(request) => {
                self.state = State::Waiting;
                Ok(Some(request))
            }
            Err(error) => {
                let reason = format!("control socket: read the request: {error}");
                let refusal = Response::Failed { reason, code: 2 };
                self.output = serde_json::to_vec(&refusal).unwrap_or_default();
                self.output.push(b'\n');
                self.state = State::Closing;
                Ok(None)
            }
        }
    }

    fn send(&mut self) -> Result<(), Errno> {
        match rustix::net::send(&self.socket, &self.output, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(count) => drop(self.output.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    fn refill(&mut self) -> io::Result<()> {
        let Some(records) = self.records.as_mut().filter(|_| self.output.is_empty()) else { return Ok(()) };
        self.output.resize(PIECE, 0);
        let count = records.reader.read(&mut self.output)?;
        self.output.truncate(count);
        if count == 0 && !records.follow {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn server() -> (tempfile::TempDir, Server<Handle>, UnixStream) {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("control.sock");
        let run = std::fs::File::open(base.path()).unwrap();
        let reactor = Reactor::new().unwrap();
        let mut server = Server::listen(run.as_fd(), &path, &reactor, Handle::MAX).unwrap();
        let stream = UnixStream::connect(&path).unwrap();
        server.admit(&reactor, |handle| handle);
        assert!(server.is_open(0));
        (base, server, stream)
    }

    #[test]
    fn one_request_one_answer() {
        let (_base, mut server, mut stream) = server();
        stream.write_all(b"{\"verb\":").unwrap();
        assert_eq!(server.serve(0), None);
        stream.write_all(b"\"ps\"}\n").unwrap();
        assert_eq!(server.serve(0), Some(Request::Ps {}));
        server.answer(0, &Response::Done {}, true);
        server.serve(0);
        assert!(!server.is_open(0));
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "{\"answer\":\"done\"}\n");
    }

    #[test]
    fn threat_32_a_request_has_a_size_and_a_time() {
        let (_base, mut server, mut stream) = server();
        let mut sent = 0;
        while server.is_open(0) {
            sent += stream.write(&[b' '; 4096]).unwrap_or(0);
            server.serve(0);
            assert!(sent <= MAX_REQUEST + 4096);
        }
        let (_base, mut server, _stream) = self::server();
        server.tick(Instant::now() + PATIENCE);
        assert!(!server.is_open(0));
    }

    #[test]
    fn threat_32_nonsense_gets_an_error_and_the_end() {
        let (_base, mut server, mut stream) = server();
        stream.write_all(b"\x00\xff{\"verb\":\"start\"}\n{\"verb\":\"down\"}\n").unwrap();
        assert_eq!(server.serve(0), None);
        assert_eq!(server.serve(0), None);
        assert!(!server.is_open(0));
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.contains("\"failed\""), "{answer}");
    }

    #[test]
    fn threat_20_the_socket_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (base, ..) = server();
        let mode = std::fs::metadata(base.path().join("control.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
