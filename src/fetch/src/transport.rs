//! TCP for the HTTP client. Every wait has a deadline, and ends at once when the manager closes its connection.

use crate::error::Gone;
use crate::reach::Own;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

/// Timeouts of connecting, and of receiving nothing.
pub const CONNECT: Duration = Duration::from_secs(10);
pub const IDLE: Duration = Duration::from_secs(30);
/// Timeout from a request to the end of its response header, including name resolution, connection and TLS. [`IDLE`] alone does not limit
/// a server that sends a byte from time to time.
const ANSWER: Duration = Duration::from_secs(120);

/// State that all transports share: the manager's connection, and the time spent waiting for servers.
#[derive(Debug)]
pub struct Watch {
    manager: OwnedFd,
    waited: AtomicU64,
    connected: AtomicBool,
    /// Deadline of the current read.
    until: Mutex<Option<Instant>>,
}

impl Watch {
    /// Watches the manager's connection.
    pub fn new(manager: OwnedFd) -> Arc<Self> {
        Arc::new(Self {
            manager,
            waited: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            until: Mutex::new(None),
        })
    }

    /// Total time spent waiting for servers.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited.load(Ordering::Relaxed))
    }

    /// Begins a request: it has no connection yet, and its response has to arrive in time.
    pub fn begin(&self) {
        self.connected.store(false, Ordering::Relaxed);
        self.expect(ANSWER);
    }

    /// Restarts the time for a response, after data was sent.
    pub fn sending(&self) {
        self.expect(ANSWER);
    }

    /// Sets the deadline of the next read, whatever number of protocol bytes it takes.
    pub fn expect(&self, within: Duration) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(within);
    }

    fn until(&self) -> Option<Instant> {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the current request has a connection, with TLS if it is used.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Sleeps; returns early with an error if the manager closes its connection.
    pub fn pause(&self, time: Duration) -> io::Result<()> {
        let deadline = Instant::now() + time;
        let mut ready = [PollFd::new(&self.manager, PollFlags::empty())];
        match wait(&mut ready, deadline)? {
            0 => Ok(()),
            _ => Err(io::Error::other(Gone)),
        }
    }

    /// Waits for a socket; false at the deadline.
    fn wait(&self, socket: impl AsFd, flags: PollFlags, deadline: Instant) -> io::Result<bool> {
        let began = Instant::now();
        let socket = socket.as_fd();
        // poll(2) always reports a hang-up; requests of the manager are read later.
        let mut ready = [PollFd::new(&socket, flags), PollFd::new(&self.manager, PollFlags::empty())];
        let count = wait(&mut ready, deadline)?;
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited.fetch_add(micros, Ordering::Relaxed);
        let [_, manager] = &ready;
        if !manager.revents().is_empty() {
            return Err(io::Error::other(Gone));
        }
        Ok(count > 0)
    }
}

fn wait(ready: &mut [PollFd<'_>], deadline: Instant) -> io::Result<usize> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let time = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        match poll(ready, Some(&time)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Connects, and records the addresses of the endpoint's own connections.
#[derive(Debug)]
pub struct Tcp(pub Arc<Watch>, pub Arc<Own>);

impl<In: Transport> Connector<In> for Tcp {
    type Out = Either<In, Wire>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(proxied) = chained {
            return Ok(Some(Either::A(proxied)));
        }
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        let deadline = Instant::now() + CONNECT;
        for address in &details.addrs {
            match connect(address, deadline, &self.0) {
                Ok(stream) => {
                    self.1.tried(details.uri.host().unwrap_or_default(), address.ip());
                    let config = details.config;
                    let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
                    return Ok(Some(Either::B(Wire { stream, buffers, watch: Arc::clone(&self.0) })));
                }
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }
}

fn connect(address: &SocketAddr, deadline: Instant, watch: &Watch) -> io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) => {}
        Err(rustix::io::Errno::INPROGRESS) => {
            if !watch.wait(&socket, PollFlags::OUT, deadline)? {
                return Err(ErrorKind::TimedOut.into());
            }
            rustix::net::sockopt::socket_error(&socket)??;
        }
        Err(errno) => return Err(errno.into()),
    }
    rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(TcpStream::from(socket))
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buffers: LazyBuffers,
    watch: Arc<Watch>,
}

impl Wire {
    /// The earlier of the client's timeout and [`IDLE`].
    fn deadline(timeout: &NextTimeout) -> Instant {
        let after = if timeout.after.is_not_happening() { IDLE } else { IDLE.min(*timeout.after) };
        Instant::now() + after
    }

    fn late(timeout: &NextTimeout) -> ureq::Error {
        ureq::Error::Timeout(timeout.reason)
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let deadline = Self::deadline(&timeout);
        let mut left = self.buffers.output().get(..amount).unwrap_or_default();
        while !left.is_empty() {
            match (&self.stream).write(left) {
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.watch.wait(&self.stream, PollFlags::OUT, deadline)? {
                        return Err(Self::late(&timeout));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let mut deadline = Self::deadline(&timeout);
        if let Some(until) = self.watch.until() {
            deadline = deadline.min(until);
            if until <= Instant::now() {
                return Err(Self::late(&timeout));
            }
        }
        loop {
            match (&self.stream).read(self.buffers.input_append_buf()) {
                Ok(count) => {
                    self.buffers.input_appended(count);
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.watch.wait(&self.stream, PollFlags::IN, deadline)? {
                        return Err(Self::late(&timeout));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // Between requests, a byte is a protocol error and an end is the end of the connection.
        matches!((&self.stream).read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

/// Last in the chain: records a complete connection, with TLS if it is used.
#[derive(Debug)]
pub struct Arrived(pub Arc<Watch>, pub Arc<Own>);

impl<In: Transport> Connector<In> for Arrived {
    type Out = In;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<In>, ureq::Error> {
        self.0.connected.store(chained.is_some(), Ordering::Relaxed);
        if chained.is_some() {
            self.1.arrived();
        }
        Ok(chained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use ureq::Timeout;

    #[test]
    fn threat_17_bytes_that_are_nothing_of_the_answer_do_not_lengthen_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let drip = std::thread::spawn(move || {
            let (mut out, _) = listener.accept().unwrap();
            while out.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let watch = Watch::new(ours.into());
        let mut wire = Wire { stream, buffers: LazyBuffers::new(4096, 4096), watch: Arc::clone(&watch) };
        let timeout = NextTimeout { after: IDLE.into(), reason: Timeout::RecvBody, ..NextTimeout::default() };
        let mut read = || {
            let got = wire.await_input(timeout);
            let length = wire.buffers.input().len();
            wire.buffers.input_consume(length);
            got
        };
        watch.expect(Duration::from_millis(300));
        let began = Instant::now();
        let late = loop {
            if let Err(error) = read() {
                break error;
            }
            assert!(began.elapsed() < Duration::from_secs(5));
        };
        assert!(matches!(late, ureq::Error::Timeout(Timeout::RecvBody)), "{late}");
        watch.expect(IDLE);
        assert!(read().unwrap());
        drop(wire);
        drip.join().unwrap();
    }
}
