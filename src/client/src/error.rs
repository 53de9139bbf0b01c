//! Why a request has no answer.

use casemate_error::{Code, escaped};
use casemate_wire::{Failure, Reply};
use rustix::io::Errno;
use std::fmt;

/// Why a request has no answer.
#[derive(Debug)]
pub enum Error {
    /// The connection broke.
    Io(Errno),
    /// The helper has closed the connection.
    Closed,
    /// The wait was interrupted ([`crate::Client::interrupt_on`]); the connection is of no more use.
    Interrupted,
    /// The helper sent what no version of it sends; the connection is of no more use.
    Protocol(&'static str),
    /// The answer to this request cannot be used.
    Answer(String),
    /// The helper refused, or a step of it failed; nothing of it is left.
    Failed(Failure),
}

impl Error {
    /// Whether it concerns the connection, and not one request alone.
    pub const fn ends_connection(&self) -> bool {
        !matches!(self, Self::Answer(_) | Self::Failed(_))
    }

    /// The exit code that it leads to.
    pub fn code(&self) -> Code {
        match self {
            Self::Failed(failure) => failure.kind.into(),
            _ => Code::Failed,
        }
    }

    /// The answer is not one to the request that was made.
    pub fn unexpected(reply: &Reply) -> Self {
        Self::Answer(format!("`{}` is not an answer to this request", reply.name()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(errno) => write!(f, "helper: exchange a packet: {errno}"),
            Self::Closed => f.write_str("helper: exchange a packet: it has closed the connection; see helper.log"),
            Self::Interrupted => f.write_str("helper: wait for its answer: interrupted by a signal"),
            Self::Protocol(what) => write!(f, "helper: read a packet: {what}"),
            Self::Answer(what) => write!(f, "helper: {}", escaped(what)),
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
    fn threat_29_what_the_helper_says_is_escaped() {
        let object = "\u{1b}[2J\nforged".to_owned();
        let failure =
            Failure { step: "open".into(), object: object.clone(), errno: None, kind: FailureKind::Container };
        for text in [Error::Failed(failure).to_string(), Error::Answer(object).to_string()] {
            assert!(!text.contains('\u{1b}') && !text.contains('\n'), "{text}");
        }
    }
}
