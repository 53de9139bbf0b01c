//! Forwards records to a host log, journald or syslog, as datagrams to a local socket that is connected once.
//!
//! A host log that is too slow delays nothing: records that it does not accept are counted, and the count is sent later. The log files
//! always have all records.

use super::cri::Stream;
use super::record::Record;
use super::{journald, syslog};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::path::Path;

/// syslog(3) level of a line of standard output without a priority, and of standard error.
const INFORMATION: u8 = 6;
const ERROR: u8 = 3;
/// The most urgent level that a container may set. journald (`ForwardToWall=`) and rsyslog (in Debian) write more urgent records to
/// every terminal of the host, unescaped.
const ALERT: u8 = 1;

/// The field that names a container.
pub const CONTAINER: &str = "CASEMATE_CONTAINER";

/// A log of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostLog {
    /// journald, by its native protocol.
    Journald,
    /// The syslog daemon at /dev/log, by RFC 5424.
    Syslog,
}

impl HostLog {
    /// Its socket.
    pub const fn socket(self) -> &'static str {
        match self {
            Self::Journald => "/run/systemd/journal/socket",
            Self::Syslog => "/dev/log",
        }
    }
}

/// The fields that identify the container of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The container.
    pub container: String,
    /// The digest of the applied file.
    pub revision: String,
    /// The pinned digest of its image.
    pub image: String,
}

/// The connection to a host log.
#[derive(Debug)]
pub struct Forwarder {
    kind: HostLog,
    socket: OwnedFd,
    address: SocketAddrUnix,
    dropped: u64,
}

impl Forwarder {
    /// Connects to this host log. Call it before the process confines itself.
    pub fn connect(kind: HostLog) -> Result<Self, Errno> {
        Self::connect_to(kind, Path::new(kind.socket()))
    }

    fn connect_to(kind: HostLog, path: &Path) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        let address = SocketAddrUnix::new(path)?;
        rustix::net::connect(&socket, &address)?;
        Ok(Self { kind, socket, address, dropped: 0 })
    }

    /// The host log.
    pub fn kind(&self) -> HostLog {
        self.kind
    }

    /// Sends a line of a container, without its line feed. `<N>` in front is its priority, as for a service (sd-daemon(3)).
    pub fn line(&mut self, origin: &Origin, stream: Stream, line: &[u8]) {
        let (priority, text) = priority(stream, line);
        let fields: &[(&str, &str)] =
            &[(CONTAINER, &origin.container), ("CASEMATE_REVISION", &origin.revision), ("IMAGE_DIGEST", &origin.image)];
        self.put(&Record { identifier: &origin.container, priority, fields, text });
    }

    /// Sends a record, or counts it as dropped.
    pub fn put(&mut self, record: &Record<'_>) {
        if self.dropped > 0 {
            let notice =
                format!("casemate: {} records were dropped; `casemate logs` has those of containers", self.dropped);
            if self.send(&Record { priority: ERROR, text: notice.as_bytes(), ..*record }).is_ok() {
                self.dropped = 0;
            }
        }
        if self.send(record).is_err() {
            self.dropped += 1;
        }
    }

    fn send(&self, record: &Record<'_>) -> Result<(), Errno> {
        match self.kind {
            HostLog::Journald => self.send_datagram(&journald::datagram(record)),
            HostLog::Syslog => syslog::datagrams(record).iter().try_for_each(|datagram| self.send_datagram(datagram)),
        }
    }

    fn send_datagram(&self, datagram: &[u8]) -> Result<(), Errno> {
        let send = || rustix::net::send(&self.socket, datagram, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(drop);
        match send() {
            // The daemon was restarted and has a new socket.
            Err(Errno::CONNREFUSED | Errno::NOTCONN) => {
                rustix::net::connect(&self.socket, &self.address)?;
                send()
            }
            sent => sent,
        }
    }
}

fn priority(stream: Stream, line: &[u8]) -> (u8, &[u8]) {
    match line {
        [b'<', level @ b'0'..=b'7', b'>', text @ ..] => ((level - b'0').max(ALERT), text),
        _ if stream == Stream::Stderr => (ERROR, line),
        _ => (INFORMATION, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = vec![0; 65536];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn origin() -> Origin {
        Origin { container: "web".into(), revision: "sha256:aa".into(), image: "sha256:bb".into() }
    }

    /// Runs the test with a socket for each host log.
    fn with_each(test: impl Fn(&Path, UnixDatagram, Forwarder)) {
        for kind in [HostLog::Journald, HostLog::Syslog] {
            let base = tempfile::tempdir().unwrap();
            let path = base.path().join("socket");
            let socket = UnixDatagram::bind(&path).unwrap();
            let host = Forwarder::connect_to(kind, &path).unwrap();
            test(&path, socket, host);
        }
    }

    #[test]
    fn priority_comes_from_the_line_or_its_stream() {
        for (stream, line, expected) in [
            (Stream::Stdout, &b"hello"[..], (6, &b"hello"[..])),
            (Stream::Stderr, b"oh", (3, b"oh")),
            (Stream::Stderr, b"<7>details", (7, b"details")),
            (Stream::Stdout, b"<9>x", (6, b"<9>x")),
            (Stream::Stdout, b"<", (6, b"<")),
        ] {
            assert_eq!(priority(stream, line), expected);
        }
    }

    #[test]
    fn threat_21_container_line_is_not_broadcast_to_terminals_of_the_host() {
        with_each(|_, socket, mut host| {
            host.line(&origin(), Stream::Stdout, b"<0>all of you\x1b[2J");
            let text = received(&socket);
            assert!(text.contains("PRIORITY\n\u{1}\0\0\0\0\0\0\x001\n") || text.starts_with("<25>1 "), "{text:?}");
        });
    }

    #[test]
    fn lines_arrive_with_their_fields() {
        with_each(|_, socket, mut host| {
            host.line(&origin(), Stream::Stderr, b"oh dear");
            let text = received(&socket);
            for word in ["oh dear", "web", CONTAINER, "CASEMATE_REVISION", "sha256:aa", "IMAGE_DIGEST", "sha256:bb"] {
                assert!(text.contains(word), "{word} in {text}");
            }
        });
    }

    #[test]
    fn threat_28_slow_host_log_delays_nothing_and_gets_the_count_of_dropped_records() {
        with_each(|_, socket, mut host| {
            for _ in 0..5000 {
                host.line(&origin(), Stream::Stdout, b"line");
            }
            assert!(host.dropped > 0);
            socket.set_nonblocking(true).unwrap();
            let mut taken = 0;
            while socket.recv(&mut [0; 4096]).is_ok() {
                taken += 1;
            }
            host.line(&origin(), Stream::Stdout, b"awake");
            let notice = format!("casemate: {} records were dropped", 5000 - taken);
            assert!(received(&socket).contains(&notice));
            assert!(received(&socket).contains("awake"));
        });
    }

    #[test]
    fn restarted_host_log_is_connected_again() {
        with_each(|path, socket, mut host| {
            drop(socket);
            host.line(&origin(), Stream::Stdout, b"not received");
            std::fs::remove_file(path).unwrap();
            host.line(&origin(), Stream::Stdout, b"not received");
            let socket = UnixDatagram::bind(path).unwrap();
            host.line(&origin(), Stream::Stdout, b"here again");
            assert!(received(&socket).contains("2 records were dropped"));
            assert!(received(&socket).contains("here again"));
        });
    }
}
