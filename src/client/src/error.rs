//! The errors of a request to the helper.

use casemate_error::{Code, escaped};
use casemate_wire::{Failure, Reply};
use rustix::io::Errno;
use std::fmt;

/// The error of a request.
#[derive(Debug)]
pub enum Error {
    /// The connection failed.
    Io(Errno),
    /// The helper closed the connection.
    Closed,
    /// The wait was interrupted ([`crate::Client::interrupt_on`]); the connection cannot be used any more.
    Interrupted,
    /// The helper violated the protocol; the connection cannot be used any more.
    Protocol(&'static str),
    /// The reply to this request is malformed or of another kind.
    Answer(String),
    /// The helper refused the request, or a step failed; nothing is left of it.
    Failed(Failure),
}

impl Error {
    /// Whether the connection cannot be used any more.
    pub const fn ends_connection(&self) -> bool {
        !matches!(self, Self::Answer(_) | Self::Failed(_))
    }

    /// The exit code.
    pub fn code(&self) -> Code {
        match self {
            Self::Failed(failure) => failure.kind.into(),
            _ => Code::Failed,
        }
    }

    /// The reply does not belong to the request.
    pub fn unexpected(reply: &Reply) -> Self {
        Self::Answer(format!("`{}` is not a reply to this request", reply.name()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(errno) => write!(f, "connection to the helper: {errno}"),
            Self::Closed => f.write_str("connection to the helper: closed by the helper; see helper.log"),
            Self::Interrupted => f.write_str("helper: wait for its reply: interrupted by a signal"),
            Self::Protocol(violation) => write!(f, "helper: read a packet: {violation}"),
            Self::Answer(reason) => write!(f, "helper: {}", escaped(reason)),
            Self::Failed(failure) => match failure.errno {
                Some(errno) => {
                    let reason = Errno::from_raw_os_error(errno);
                    write!(f, "{}: {}: {reason}", escaped(&failure.object), escaped(&failure.step))
                }
                None => write!(f, "{}: {}", escaped(&failure.step), escaped(&failure.object)),
            },
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for casemate_error::Error {
    fn from(error: Error) -> Self {
        Self::from_display(error.code(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_wire::FailureKind;

    #[test]
    fn threat_29_errors_of_the_helper_are_escaped() {
        let object = "\u{1b}[2J\nforged".to_owned();
        let failure =
            Failure { step: "open".into(), object: object.clone(), errno: None, kind: FailureKind::Container };
        for text in [Error::Failed(failure).to_string(), Error::Answer(object).to_string()] {
            assert!(!text.contains('\u{1b}') && !text.contains('\n'), "{text}");
        }
    }
}
