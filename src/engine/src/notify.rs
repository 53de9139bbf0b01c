//! What a service manager wants to hear: one datagram a word to the socket that `NOTIFY_SOCKET` names (sd_notify(3)).
//!
//! The socket is connected once, so that a process which has shut itself in needs no path for it. Nothing here waits: a service
//! manager that takes no datagrams learns nothing, and its watchdog does what it is for.

use casemate_client::Keepalive;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

/// The pause between two signs of life where no watchdog asks for more.
const UNASKED: Duration = Duration::from_secs(10);
/// A service manager's patience is extended by this many pauses.
const PAUSES: u32 = 6;
/// More of a status than this is of no use to a reader.
const LONGEST: usize = 2048;

/// The way to the service manager, or none.
#[derive(Debug, Clone, Default)]
pub struct Notifier(Option<Arc<Way>>);

#[derive(Debug)]
struct Way {
    socket: OwnedFd,
    pause: Duration,
}

impl Notifier {
    /// As the environment says.
    pub fn of_environment() -> Result<Self, Errno> {
        Ok(Self(of_environment()?.map(|(socket, pause)| Arc::new(Way { socket, pause }))))
    }

    /// How long to wait at most between two signs of life; none: nobody waits for one.
    pub fn pause(&self) -> Option<Duration> {
        self.0.as_ref().map(|way| way.pause)
    }

    /// The work goes on: feeds the watchdog, and has a start or stop that is under way not end yet.
    pub fn alive(&self) {
        if let Some(way) = &self.0 {
            self.say(&format!("WATCHDOG=1\nEXTEND_TIMEOUT_USEC={}", (way.pause * PAUSES).as_micros()));
        }
    }

    /// The same, for whoever waits for an answer of the helper; none: nobody waits for a sign of life.
    pub fn keepalive(&self) -> Option<Keepalive> {
        let own = self.clone();
        self.pause().map(|interval| Keepalive { interval, ping: Arc::new(move || own.alive()) })
    }

    /// What was asked for is there. `false`: it was not taken, and is to be said again, as nothing else ends a start.
    pub fn ready(&self) -> bool {
        self.say("READY=1")
    }

    /// What was asked for is asked for anew; [`Self::ready`] ends it. With the time, so that a service manager can tell this from
    /// an earlier one.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// A line for people. A line feed would begin another word of the protocol: it and other control characters become blanks.
    pub fn status(&self, text: &str) {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
        self.say(&format!("STATUS={line}"));
    }

    /// Whether it was taken: `false` when nobody listens, or nobody keeps up.
    fn say(&self, words: &str) -> bool {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        self.0.as_ref().is_some_and(|way| rustix::net::send(&way.socket, words.as_bytes(), flags).is_ok())
    }
}

/// As the environment says: `NOTIFY_SOCKET`, connected, and by `WATCHDOG_USEC`, where it is meant for this process, how long to wait at
/// most between two signs of life. None: there is nobody to tell.
pub fn of_environment() -> Result<Option<(OwnedFd, Duration)>, Errno> {
    let own = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    let watchdog = std::env::var("WATCHDOG_USEC").ok().filter(|_| own);
    let address = std::env::var_os("NOTIFY_SOCKET");
    address.map(|address| Ok((connect(&address)?, pause(watchdog.as_deref())))).transpose()
}

/// Half of the watchdog's patience, in microseconds.
fn pause(watchdog: Option<&str>) -> Duration {
    let half = watchdog.and_then(|microseconds| microseconds.parse().ok()).map(|all| Duration::from_micros(all) / 2);
    half.filter(|half| !half.is_zero()).map_or(UNASKED, |half| half.min(UNASKED))
}

/// A datagram socket connected to the address of the environment: a path, or with `@` in front an abstract name.
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
        Ok(Notifier(Some(Arc::new(Way { socket: connect(address)?, pause: pause(watchdog) }))))
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn words_arrive_at_a_path_and_at_an_abstract_name() {
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
            assert_eq!(notifier.pause(), Some(Duration::from_secs(2)));
            notifier.ready();
            notifier.alive();
            notifier.status("web running\nREADY=1");
            notifier.stopping();
            notifier.reloading();
            assert_eq!(heard(&socket), "READY=1");
            assert_eq!(heard(&socket), "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=12000000");
            assert_eq!(heard(&socket), "STATUS=web running READY=1");
            assert_eq!(heard(&socket), "STOPPING=1");
            let reloading = heard(&socket);
            let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{reloading}");
        }
    }

    #[test]
    fn a_service_manager_that_does_not_listen_holds_up_nobody() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = notifier(path.as_os_str(), None).unwrap();
        for _ in 0..10_000 {
            notifier.alive();
        }
        assert!(!notifier.ready(), "nothing is taken, and who says it learns that");
        socket.set_nonblocking(true).unwrap();
        while socket.recv(&mut [0; 4096]).is_ok() {}
        assert!(notifier.ready());
        drop(socket);
        notifier.alive();
    }

    #[test]
    fn an_address_that_is_none_is_an_error_and_none_is_silence() {
        for bad in ["", "relative", "/nonexistent/notify", "vsock:2:1"] {
            assert!(notifier(OsStr::new(bad), None).is_err(), "{bad}");
        }
        let silent = Notifier::default();
        silent.ready();
        assert_eq!(silent.pause(), None);
    }

    #[test]
    fn a_watchdog_that_is_nonsense_or_slow_leaves_the_pause() {
        for watchdog in [None, Some("0"), Some("x"), Some("60000000")] {
            assert_eq!(pause(watchdog), UNASKED, "{watchdog:?}");
        }
        assert_eq!(pause(Some("4000000")), Duration::from_secs(2));
    }
}
