//! The manager's side of the control socket: bounded requests in, responses out; it never waits for a client.
//!
//! Only root and the manager's own user are served: by the modes of the socket and its directory, and by SO_PEERCRED (threat row 20).
//! A request that is too long or takes too long ends its connection.

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

/// Connections at a time; further ones are closed at once.
const MAX_CONNECTIONS: usize = 64;
/// Time for a request to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes read from a log file at a time.
const CHUNK: usize = 64 * 1024;

/// Identifies a connection of a server.
pub type ConnectionId = u64;

/// The listening socket and its connections; `S` is the reactor's event source.
#[derive(Debug)]
pub struct Server<S> {
    listener: Registration<S>,
    connections: BTreeMap<ConnectionId, Connection<S>>,
    /// Connections that receive the log of a container.
    followers: BTreeMap<Name, BTreeSet<ConnectionId>>,
    /// Connections whose output can be refilled from a log.
    fillable: BTreeSet<ConnectionId>,
    next: ConnectionId,
    own_uid: u32,
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
    /// Receiving the request.
    Receiving,
    /// Waiting for the manager's response.
    Waiting,
    /// Sending the rest of the output, then close.
    Closing,
}

#[derive(Debug)]
struct Records {
    container: Name,
    reader: Reader,
    follow: bool,
}

impl<S: Clone> Server<S> {
    /// Listens at the path in an open directory; replaces an old socket.
    pub fn listen(run: BorrowedFd<'_>, path: &Path, reactor: &Reactor<S>, source: S) -> Result<Self, Errno> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        match rustix::fs::unlinkat(run, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // Through /proc: a socket address has room for 107 bytes of path.
        let directory = Path::new("/proc/self/fd").join(rustix::fd::AsRawFd::as_raw_fd(&run).to_string());
        rustix::net::bind(&listener, &SocketAddrUnix::new(directory.join(name))?)?;
        rustix::fs::chmodat(run, name, Mode::from_raw_mode(0o600), AtFlags::empty())?;
        rustix::net::listen(&listener, 16)?;
        let own_uid = rustix::process::geteuid().as_raw();
        let listener = reactor.register(&Rc::new(listener), Interest::Read, source)?;
        Ok(Self {
            listener,
            connections: BTreeMap::new(),
            followers: BTreeMap::new(),
            fillable: BTreeSet::new(),
            next: 0,
            own_uid,
        })
    }

    /// Accepts new connections; `source` makes the event source of one.
    pub fn accept(&mut self, reactor: &Reactor<S>, source: impl Fn(ConnectionId) -> S) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(socket) = rustix::net::accept_with(&self.listener, flags) {
            let allowed = peer_credentials(&socket).is_ok_and(|peer| peer.uid == 0 || peer.uid == self.own_uid);
            if !allowed || self.connections.len() >= MAX_CONNECTIONS {
                continue;
            }
            let Ok(socket) = reactor.register(&Rc::new(socket), Interest::Read, source(self.next)) else { continue };
            let connection = Connection {
                socket,
                since: Instant::now(),
                input: Vec::new(),
                output: Vec::new(),
                records: None,
                state: State::Receiving,
            };
            self.connections.insert(self.next, connection);
            self.next += 1;
        }
    }

    /// Sends or receives on a ready connection. Returns its request once that is complete.
    pub fn serve(&mut self, id: ConnectionId) -> Option<Request> {
        let connection = self.connections.get_mut(&id)?;
        let outcome = match connection.state {
            _ if !connection.output.is_empty() => connection.send().map(|()| None),
            State::Receiving => connection.receive(),
            // Readable without a request to come: the client has closed the connection.
            _ => Err(Errno::CONNRESET),
        };
        let finished = connection.state == State::Closing && connection.output.is_empty();
        match outcome {
            Ok(request) if !finished => {
                self.fillable.insert(id);
                self.watch(id);
                request
            }
            _ => {
                self.close(id);
                None
            }
        }
    }

    /// Sends one more response. After the `last` one is sent, the connection is closed.
    pub fn respond(&mut self, id: ConnectionId, response: &Response, last: bool) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        // Serializing plain data does not fail.
        connection.output.extend(serde_json::to_vec(response).unwrap_or_default());
        connection.output.push(b'\n');
        connection.state = if last { State::Closing } else { State::Waiting };
        self.watch(id);
    }

    /// Sends the records of a container's log as the rest of the response.
    pub fn stream(&mut self, id: ConnectionId, container: &Name, reader: Reader, follow: bool) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.records = Some(Records { container: container.clone(), reader, follow });
            self.followers.entry(container.clone()).or_default().insert(id);
            self.fillable.insert(id);
        }
    }

    /// Something was written to the log of this container.
    pub fn log_has_grown(&mut self, container: &Name) {
        if let Some(followers) = self.followers.get(container) {
            self.fillable.extend(followers);
        }
    }

    /// Nothing more is written to the log that this connection follows.
    pub fn end_of_log(&mut self, id: ConnectionId) {
        if let Some(records) = self.connections.get_mut(&id).and_then(|c| c.records.as_mut()) {
            records.follow = false;
            self.fillable.insert(id);
        }
    }

    /// Whether the connection is still open.
    pub fn is_open(&self, id: ConnectionId) -> bool {
        self.connections.contains_key(&id)
    }

    /// Refills empty outputs from logs that have grown, and closes connections whose request has not arrived in time.
    pub fn tick(&mut self, now: Instant) {
        for id in std::mem::take(&mut self.fillable) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            match connection.refill() {
                Ok(()) => self.watch(id),
                Err(_) => self.close(id),
            }
        }
        let late = |connection: &Connection<S>| {
            connection.state == State::Receiving && now >= connection.since + REQUEST_TIMEOUT
        };
        let late: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, connection)| late(connection)).map(|(id, _)| *id).collect();
        late.into_iter().for_each(|id| self.close(id));
    }

    /// When [`Self::tick`] is due if no descriptor becomes ready before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let receiving = self.connections.values().filter(|connection| connection.state == State::Receiving);
        receiving.map(|connection| connection.since + REQUEST_TIMEOUT).min()
    }

    /// Registers the event that a connection waits for next.
    fn watch(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let interest = match connection.state {
            _ if !connection.output.is_empty() => Interest::Write,
            State::Receiving => Interest::Read,
            _ => Interest::HangUp,
        };
        if connection.socket.set_interest(interest).is_err() {
            self.close(id);
        }
    }

    fn close(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        if let Some(records) = connection.records
            && let Some(followers) = self.followers.get_mut(&records.container)
        {
            followers.remove(&id);
            if followers.is_empty() {
                self.followers.remove(&records.container);
            }
        }
    }

    /// Sends the last responses, for at most a second, and closes.
    pub fn finish(mut self) {
        let deadline = Instant::now() + Duration::from_secs(1);
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            while let Some(connection) = self.connections.get_mut(&id) {
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
        // One request per connection: the rest is not read.
        let request = self.input.get(..end).filter(|line| line.len() < MAX_REQUEST).unwrap_or_default();
        match serde_json::from_slice(request) {
            Ok(request) => {
                self.state = State::Waiting;
                Ok(Some(request))
            }
            Err(error) => {
                let reason = format!("control socket: read the request: {error}");
                let response = Response::Failed { reason, code: 2 };
                self.output = serde_json::to_vec(&response).unwrap_or_default();
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
        self.output.resize(CHUNK, 0);
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

    fn server() -> (tempfile::TempDir, Server<ConnectionId>, UnixStream) {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("control.sock");
        let run = std::fs::File::open(base.path()).unwrap();
        let reactor = Reactor::new().unwrap();
        let mut server = Server::listen(run.as_fd(), &path, &reactor, ConnectionId::MAX).unwrap();
        let stream = UnixStream::connect(&path).unwrap();
        server.accept(&reactor, |id| id);
        assert!(server.is_open(0));
        (base, server, stream)
    }

    #[test]
    fn connection_is_closed_after_the_response() {
        let (_base, mut server, mut stream) = server();
        stream.write_all(b"{\"verb\":").unwrap();
        assert_eq!(server.serve(0), None);
        stream.write_all(b"\"ps\"}\n").unwrap();
        assert_eq!(server.serve(0), Some(Request::Ps {}));
        server.respond(0, &Response::Done {}, true);
        server.serve(0);
        assert!(!server.is_open(0));
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "{\"answer\":\"done\"}\n");
    }

    #[test]
    fn threat_32_request_has_a_size_limit_and_a_timeout() {
        let (_base, mut server, mut stream) = server();
        let mut sent = 0;
        while server.is_open(0) {
            sent += stream.write(&[b' '; 4096]).unwrap_or(0);
            server.serve(0);
            assert!(sent <= MAX_REQUEST + 4096);
        }
        let (_base, mut server, _stream) = self::server();
        server.tick(Instant::now() + REQUEST_TIMEOUT);
        assert!(!server.is_open(0));
    }

    #[test]
    fn threat_32_malformed_request_gets_an_error_and_is_closed() {
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
    fn threat_20_control_socket_has_mode_0600() {
        use std::os::unix::fs::PermissionsExt;
        let (base, ..) = server();
        let mode = std::fs::metadata(base.path().join("control.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
