//! Lines of containers in the host's journal, in its native protocol (systemd.journal-fields(7), "JOURNAL_NATIVE_PROTOCOL"): one
//! datagram a line, with fields that say whose it is.
//!
//! The log files stay what nothing is lost from, whoever is killed: a journal that does not keep up makes nobody wait, and the
//! lines that it did not take are counted in it.

use super::cri::Stream;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::path::Path;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// syslog(3) levels of a line that names none.
const INFORMATION: u8 = 6;
const ERROR: u8 = 3;

/// Whose lines they are.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The container.
    pub container: String,
    /// Digest of the file that was applied.
    pub revision: String,
    /// What its image is pinned to.
    pub image: String,
}

/// The connected journal.
#[derive(Debug)]
pub struct Journald {
    socket: OwnedFd,
    left_out: u64,
}

impl Journald {
    /// Connects, before this process shuts itself in.
    pub fn connect(path: &Path) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self { socket, left_out: 0 })
    }

    /// One line, without its line feed. `<N>` in front is its priority, as for a service (sd-daemon(3)).
    pub fn line(&mut self, origin: &Origin, stream: Stream, line: &[u8]) {
        if self.left_out > 0 {
            let gap = format!("casemate: {} lines are not in the journal; `casemate logs` has them", self.left_out);
            if self.send(origin, ERROR, gap.as_bytes()).is_ok() {
                self.left_out = 0;
            }
        }
        let (priority, text) = priority(stream, line);
        if self.send(origin, priority, text).is_err() {
            self.left_out += 1;
        }
    }

    fn send(&self, origin: &Origin, priority: u8, text: &[u8]) -> Result<(), Errno> {
        let mut datagram = Vec::with_capacity(text.len() + 512);
        field(&mut datagram, "MESSAGE", text);
        field(&mut datagram, "PRIORITY", priority.to_string().as_bytes());
        field(&mut datagram, "SYSLOG_IDENTIFIER", origin.container.as_bytes());
        field(&mut datagram, "CASEMATE_CONTAINER", origin.container.as_bytes());
        field(&mut datagram, "CASEMATE_REVISION", origin.revision.as_bytes());
        field(&mut datagram, "IMAGE_DIGEST", origin.image.as_bytes());
        rustix::net::send(&self.socket, &datagram, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(drop)
    }
}

/// The form with a length, for every value: none of them can end early and begin another field (threat row 29).
fn field(datagram: &mut Vec<u8>, name: &str, value: &[u8]) {
    datagram.extend_from_slice(name.as_bytes());
    datagram.push(b'\n');
    datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    datagram.extend_from_slice(value);
    datagram.push(b'\n');
}

fn priority(stream: Stream, line: &[u8]) -> (u8, &[u8]) {
    match line {
        [b'<', level @ b'0'..=b'7', b'>', text @ ..] => (level - b'0', text),
        _ if stream == Stream::Stderr => (ERROR, line),
        _ => (INFORMATION, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::net::UnixDatagram;

    /// As journald reads it.
    fn fields(mut datagram: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut fields = BTreeMap::new();
        while !datagram.is_empty() {
            let end = datagram.iter().position(|byte| *byte == b'\n').unwrap();
            let (name, rest) = datagram.split_at(end);
            let (length, rest) = rest[1..].split_first_chunk::<8>().unwrap();
            let (value, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
            fields.insert(String::from_utf8(name.to_vec()).unwrap(), value.to_vec());
            datagram = rest.strip_prefix(b"\n").unwrap();
        }
        fields
    }

    fn origin() -> Origin {
        Origin { container: "web".into(), revision: "sha256:aa".into(), image: "sha256:bb".into() }
    }

    fn heard(socket: &UnixDatagram) -> BTreeMap<String, Vec<u8>> {
        let mut buffer = vec![0; 65536];
        let length = socket.recv(&mut buffer).unwrap();
        fields(&buffer[..length])
    }

    #[test]
    fn threat_29_a_line_is_one_field_of_the_journal() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut journald = Journald::connect(&path).unwrap();
        let forged = b"hello\nCASEMATE_CONTAINER=other\n\xff";
        for (stream, line, priority, message) in [
            (Stream::Stdout, &forged[..], "6", &forged[..]),
            (Stream::Stderr, b"oh", "3", b"oh"),
            (Stream::Stderr, b"<7>details", "7", b"details"),
            (Stream::Stdout, b"<9>x", "6", b"<9>x"),
        ] {
            journald.line(&origin(), stream, line);
            let fields = heard(&socket);
            assert_eq!(fields["MESSAGE"], message);
            assert_eq!(fields["PRIORITY"], priority.as_bytes());
            assert_eq!(
                (&fields["CASEMATE_CONTAINER"][..], &fields["IMAGE_DIGEST"][..]),
                (&b"web"[..], &b"sha256:bb"[..])
            );
            assert_eq!(fields["CASEMATE_REVISION"], b"sha256:aa");
        }
    }

    #[test]
    fn threat_28_a_journal_that_sleeps_holds_up_nobody_and_learns_what_it_missed() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut journald = Journald::connect(&path).unwrap();
        for _ in 0..5000 {
            journald.line(&origin(), Stream::Stdout, b"line");
        }
        assert!(journald.left_out > 0);
        socket.set_nonblocking(true).unwrap();
        while socket.recv(&mut [0; 4096]).is_ok() {}
        journald.line(&origin(), Stream::Stdout, b"awake");
        assert!(String::from_utf8_lossy(&heard(&socket)["MESSAGE"]).contains("lines are not in the journal"));
        assert_eq!(heard(&socket)["MESSAGE"], b"awake");
    }
}
