//! Messages to the service manager, one datagram each to the socket of `NOTIFY_SOCKET` (sd_notify(3)).
//!
//! The socket is connected once: a confined process cannot open its path. Sending never waits; a service manager that does not read its
//! socket misses the messages.

use casemate_client::Keepalive;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

/// The longest time between two pings.
const MAX_INTERVAL: Duration = Duration::from_secs(10);
/// A ping extends the start or stop timeout by this many intervals.
const EXTENSION: u32 = 6;
/// Characters of a status line.
const MAX_STATUS: usize = 2048;

/// The connection to the service manager, if there is one.
#[derive(Debug, Clone, Default)]
pub struct Notifier(Option<Arc<Connection>>);

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    interval: Duration,
}

impl Notifier {
    /// From the environment of this process.
    pub fn from_environment() -> Result<Self, Errno> {
        Ok(Self(from_environment()?.map(|(socket, interval)| Arc::new(Connection { socket, interval }))))
    }

    /// The longest time between two pings; `None` without a service manager.
    pub fn interval(&self) -> Option<Duration> {
        self.0.as_ref().map(|connection| connection.interval)
    }

    /// Pings the watchdog, and extends the timeout of a start or stop in progress.
    pub fn ping(&self) {
        if let Some(connection) = &self.0 {
            self.send(&format!("WATCHDOG=1\nEXTEND_TIMEOUT_USEC={}", (connection.interval * EXTENSION).as_micros()));
        }
    }

    /// Pings while a client of the helper waits for a reply; `None` without a service manager.
    pub fn keepalive(&self) -> Option<Keepalive> {
        let notifier = self.clone();
        self.interval().map(|interval| Keepalive { interval, ping: Arc::new(move || notifier.ping()) })
    }

    /// The start or reload is complete. `false`: the message was not sent; send it again, as nothing else completes the start.
    pub fn ready(&self) -> bool {
        self.send("READY=1")
    }

    /// A reload has begun; [`Self::ready`] completes it. The time distinguishes it from an earlier reload.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
    }

    /// The stop has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The status line. Control characters become blanks: a line feed would begin another message.
    pub fn status(&self, text: &str) {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_STATUS).collect();
        self.send(&format!("STATUS={line}"));
    }

    /// Sends without waiting. `false`: no service manager, or its socket is full.
    fn send(&self, message: &str) -> bool {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        self.0
            .as_ref()
            .is_some_and(|connection| rustix::net::send(&connection.socket, message.as_bytes(), flags).is_ok())
    }
}

/// The connected `NOTIFY_SOCKET`, and the longest time between two pings: from `WATCHDOG_USEC` if it is meant for this process. `None`
/// without a service manager.
pub fn from_environment() -> Result<Option<(OwnedFd, Duration)>, Errno> {
    let own = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    let watchdog = std::env::var("WATCHDOG_USEC").ok().filter(|_| own);
    let address = std::env::var_os("NOTIFY_SOCKET");
    address.map(|address| Ok((connect(&address)?, interval(watchdog.as_deref())))).transpose()
}

/// Half of the watchdog's timeout (in microseconds), at most [`MAX_INTERVAL`].
fn interval(watchdog: Option<&str>) -> Duration {
    let half = watchdog.and_then(|microseconds| microseconds.parse().ok()).map(|all| Duration::from_micros(all) / 2);
    half.filter(|half| !half.is_zero()).map_or(MAX_INTERVAL, |half| half.min(MAX_INTERVAL))
}

/// A datagram socket connected to this address: a path, or an abstract name after `@`.
fn connect(address: &OsStr) -> Result<OwnedFd, Errno> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
        path @ [b'/', ..] => SocketAddrUnix::new(path)?,
        _ => return Err(Errno::AFNOSUPPORT),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    fn notifier(address: &OsStr, watchdog: Option<&str>) -> Result<Notifier, Errno> {
        Ok(Notifier(Some(Arc::new(Connection { socket: connect(address)?, interval: interval(watchdog) }))))
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn messages_arrive_at_a_path_and_at_an_abstract_name() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("notify");
        let name = format!("casemate-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let at = format!("@{name}");
        for (socket, address) in [
            (UnixDatagram::bind(&path).unwrap(), path.as_os_str()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), OsStr::new(&at)),
        ] {
            let notifier = notifier(address, Some("4000000")).unwrap();
            assert_eq!(notifier.interval(), Some(Duration::from_secs(2)));
            notifier.ready();
            notifier.ping();
            notifier.status("web running\nREADY=1");
            notifier.stopping();
            notifier.reloading();
            assert_eq!(received(&socket), "READY=1");
            assert_eq!(received(&socket), "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=12000000");
            assert_eq!(received(&socket), "STATUS=web running READY=1");
            assert_eq!(received(&socket), "STOPPING=1");
            let reloading = received(&socket);
            let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{reloading}");
        }
    }

    #[test]
    fn notifier_does_not_wait_for_a_full_socket() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = notifier(path.as_os_str(), None).unwrap();
        for _ in 0..10_000 {
            notifier.ping();
        }
        assert!(!notifier.ready(), "the socket is full");
        socket.set_nonblocking(true).unwrap();
        while socket.recv(&mut [0; 4096]).is_ok() {}
        assert!(notifier.ready());
        drop(socket);
        notifier.ping();
    }

    #[test]
    fn invalid_address_is_an_error_and_no_address_is_no_connection() {
        for bad in ["", "relative", "/nonexistent/notify", "vsock:2:1"] {
            assert!(notifier(OsStr::new(bad), None).is_err(), "{bad}");
        }
        let unconnected = Notifier::default();
        unconnected.ready();
        assert_eq!(unconnected.interval(), None);
    }

    #[test]
    fn invalid_or_slow_watchdog_leaves_the_default_interval() {
        for watchdog in [None, Some("0"), Some("x"), Some("60000000")] {
            assert_eq!(interval(watchdog), MAX_INTERVAL, "{watchdog:?}");
        }
        assert_eq!(interval(Some("4000000")), Duration::from_secs(2));
    }
}
