//! TCP for the HTTP client: every wait has an end, and ends at once when the manager hangs up.

use crate::fault::Gone;
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

/// The longest that a connection is waited for, and the longest without one byte.
pub const CONNECT: Duration = Duration::from_secs(10);
pub const IDLE: Duration = Duration::from_secs(30);
/// The longest from a request to the end of its answer's header, with the name, the connection and TLS before it: a byte now and
/// then would keep each single wait short.
const ANSWER: Duration = Duration::from_secs(120);

/// What the transports of a process share: the manager's socket to watch, and how long servers were waited for.
#[derive(Debug)]
pub struct Watch {
    manager: OwnedFd,
    waited: AtomicU64,
    connected: AtomicBool,
    /// When what is read now has to be there.
    until: Mutex<Option<Instant>>,
}

impl Watch {
    /// Watches this connection of the manager's.
    pub fn new(manager: OwnedFd) -> Arc<Self> {
        Arc::new(Self {
            manager,
            waited: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            until: Mutex::new(None),
        })
    }

    /// How long servers have been waited for altogether.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited.load(Ordering::Relaxed))
    }

    /// From now on no connection has been made for the request at hand, and its answer is waited for.
    pub fn begin(&self) {
        self.connected.store(false, Ordering::Relaxed);
        self.expect(ANSWER);
    }

    /// What goes out is not the server's delay: its time for an answer begins anew.
    pub fn sending(&self) {
        self.expect(ANSWER);
    }

    /// What is read next has to be there within this time, however many bytes come that are nothing of it.
    pub fn expect(&self, within: Duration) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(within);
    }

    fn until(&self) -> Option<Instant> {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the request at hand has got a connection, TLS included.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Sleeps, unless the manager goes.
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
        // A hang-up is told whether asked for or not (poll(2)); what the manager says meanwhile can wait.
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

/// Makes connections, and notes where the endpoint's own lead.
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
    /// The earlier of the client's own time and [`IDLE`].
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
        // Nothing was asked, so a byte would be nonsense, and an end an end.
        matches!((&self.stream).read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

/// The end of the chain: notes that a connection is there, TLS included.
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
