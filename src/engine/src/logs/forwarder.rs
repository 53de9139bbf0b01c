//! Records in a log of the host, its journal or its syslog: datagrams to a local socket that was connected once.
//!
//! The log files stay what nothing is lost from, whoever is killed: a listener that does not keep up makes nobody wait, and the
//! records that it did not take are counted in it.

use super::cri::Stream;
use super::record::Record;
use super::{journald, syslog};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::path::Path;

/// syslog(3) levels of a line that names none.
const INFORMATION: u8 = 6;
const ERROR: u8 = 3;
/// The highest that a container may name. What is higher goes to every terminal of the host, as it is: journald does that
/// (`ForwardToWall=`), rsyslog as Debian has it too.
const ALERT: u8 = 1;

/// The field that names a container.
pub const CONTAINER: &str = "CASEMATE_CONTAINER";

/// Which log of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostLog {
    /// The journal, in its native protocol.
    Journald,
    /// Whoever listens at /dev/log, in the form of RFC 5424.
    Syslog,
}

impl HostLog {
    /// Where it listens.
    pub const fn socket(self) -> &'static str {
        match self {
            Self::Journald => "/run/systemd/journal/socket",
            Self::Syslog => "/dev/log",
        }
    }
}

/// Whose lines they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The container.
    pub container: String,
    /// Digest of the file that was applied.
    pub revision: String,
    /// What its image is pinned to.
    pub image: String,
}

/// The connected log.
#[derive(Debug)]
pub struct Forwarder {
    kind: HostLog,
    socket: OwnedFd,
    address: SocketAddrUnix,
    left_out: u64,
}

impl Forwarder {
    /// Connects where this log listens; to be done before this process shuts itself in.
    pub fn connect(kind: HostLog) -> Result<Self, Errno> {
        Self::connect_to(kind, Path::new(kind.socket()))
    }

    fn connect_to(kind: HostLog, path: &Path) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        let address = SocketAddrUnix::new(path)?;
        rustix::net::connect(&socket, &address)?;
        Ok(Self { kind, socket, address, left_out: 0 })
    }

    /// Which one it is.
    pub fn kind(&self) -> HostLog {
        self.kind
    }

    /// One line of a container, without its line feed. `<N>` in front is its priority, as for a service (sd-daemon(3)).
    pub fn line(&mut self, origin: &Origin, stream: Stream, line: &[u8]) {
        let (priority, text) = priority(stream, line);
        let fields: &[(&str, &str)] =
            &[(CONTAINER, &origin.container), ("CASEMATE_REVISION", &origin.revision), ("IMAGE_DIGEST", &origin.image)];
        self.put(&Record { identifier: &origin.container, priority, fields, text });
    }

    /// One record, or one more in the count of those that were not taken.
    pub fn put(&mut self, record: &Record<'_>) {
        if self.left_out > 0 {
            let gap =
                format!("casemate: {} records were not taken; `casemate logs` has the containers'", self.left_out);
            if self.send(&Record { priority: ERROR, text: gap.as_bytes(), ..*record }).is_ok() {
                self.left_out = 0;
            }
        }
        if self.send(record).is_err() {
            self.left_out += 1;
        }
    }

    fn send(&self, record: &Record<'_>) -> Result<(), Errno> {
        match self.kind {
            HostLog::Journald => self.carry(&journald::datagram(record)),
            HostLog::Syslog => syslog::datagrams(record).iter().try_for_each(|datagram| self.carry(datagram)),
        }
    }

    fn carry(&self, datagram: &[u8]) -> Result<(), Errno> {
        let send = || rustix::net::send(&self.socket, datagram, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(drop);
        match send() {
            // The listener was started anew, and has made its socket anew.
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

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = vec![0; 65536];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn origin() -> Origin {
        Origin { container: "web".into(), revision: "sha256:aa".into(), image: "sha256:bb".into() }
    }

    /// A listener for each kind.
    fn with_each(ask: impl Fn(&Path, UnixDatagram, Forwarder)) {
        for kind in [HostLog::Journald, HostLog::Syslog] {
            let base = tempfile::tempdir().unwrap();
            let path = base.path().join("socket");
            let socket = UnixDatagram::bind(&path).unwrap();
            let host = Forwarder::connect_to(kind, &path).unwrap();
            ask(&path, socket, host);
        }
    }

    #[test]
    fn a_line_has_the_priority_that_it_names_or_that_of_its_stream() {
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
    fn threat_21_a_line_of_a_container_is_not_broadcast_to_the_terminals_of_the_host() {
        with_each(|_, socket, mut host| {
            host.line(&origin(), Stream::Stdout, b"<0>all of you\x1b[2J");
            let heard = heard(&socket);
            assert!(heard.contains("PRIORITY\n\u{1}\0\0\0\0\0\0\x001\n") || heard.starts_with("<25>1 "), "{heard:?}");
        });
    }

    #[test]
    fn lines_arrive_with_what_is_known_about_them() {
        with_each(|_, socket, mut host| {
            host.line(&origin(), Stream::Stderr, b"oh dear");
            let heard = heard(&socket);
            for word in ["oh dear", "web", CONTAINER, "CASEMATE_REVISION", "sha256:aa", "IMAGE_DIGEST", "sha256:bb"] {
                assert!(heard.contains(word), "{word} in {heard}");
            }
        });
    }

    #[test]
    fn threat_28_a_listener_that_sleeps_holds_up_nobody_and_learns_what_it_missed() {
        with_each(|_, socket, mut host| {
            for _ in 0..5000 {
                host.line(&origin(), Stream::Stdout, b"line");
            }
            assert!(host.left_out > 0);
            socket.set_nonblocking(true).unwrap();
            let mut taken = 0;
            while socket.recv(&mut [0; 4096]).is_ok() {
                taken += 1;
            }
            host.line(&origin(), Stream::Stdout, b"awake");
            let gap = format!("casemate: {} records were not taken", 5000 - taken);
            assert!(heard(&socket).contains(&gap));
            assert!(heard(&socket).contains("awake"));
        });
    }

    #[test]
    fn a_listener_that_starts_anew_is_found_again() {
        with_each(|path, socket, mut host| {
            drop(socket);
            host.line(&origin(), Stream::Stdout, b"nobody hears this");
            std::fs::remove_file(path).unwrap();
            host.line(&origin(), Stream::Stdout, b"nor this");
            let socket = UnixDatagram::bind(path).unwrap();
            host.line(&origin(), Stream::Stdout, b"here again");
            assert!(heard(&socket).contains("2 records were not taken"));
            assert!(heard(&socket).contains("here again"));
        });
    }
}
