//! How a layer fails: with the step, the object, the errno and the exit code that it leads to.

use casemate_wire::{Failure, FailureKind};
use rustix::io::Errno;

/// The most bytes of a name that go into a message: 32 of them and the rest must fit one packet.
const SHOWN: usize = 512;

/// The bytes are not what was pinned, or break a rule or a limit.
pub fn refused(step: &str, object: impl Into<String>) -> Failure {
    Failure { step: step.to_owned(), object: object.into(), errno: None, kind: FailureKind::Verification }
}

/// The layer is longer than its limit of bytes.
pub fn too_long(object: impl Into<String>) -> Failure {
    Failure { kind: FailureKind::BytesLimit, ..refused("limit bytes", object) }
}

/// The kernel would not do it: no space, most likely.
pub fn system(step: &str, object: &[u8], errno: Errno) -> Failure {
    Failure {
        step: step.to_owned(),
        object: printable(object),
        errno: Some(errno.raw_os_error()),
        kind: FailureKind::Container,
    }
}

/// A name from the archive, fit for a terminal: control characters escaped, at most [`SHOWN`] bytes of it.
pub fn printable(name: &[u8]) -> String {
    let (head, tail) = name.split_at_checked(SHOWN).unwrap_or((name, &[]));
    let mut text = String::from_utf8_lossy(head).escape_debug().to_string();
    if !tail.is_empty() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_for_the_terminal() {
        assert_eq!(printable(b"a\x1b[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(printable("grün".as_bytes()), "grün");
        assert!(printable(&[b'a'; 5000]).len() < 600);
    }
}
