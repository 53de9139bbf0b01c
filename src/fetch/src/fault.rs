//! A failure with what may be done about it: the same server again, the next one, or nothing.

use casemate_fetch_wire::{Cause, Failure, Step};
use std::error::Error as _;
use std::io;
use std::time::Duration;

/// The most characters of a reason.
const LONGEST: usize = 400;

/// What a failure leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Asking this server again may help, after so long where it said so.
    Again(Option<Duration>),
    /// Only another server may help.
    Elsewhere,
    /// Nothing helps: the manager has gone, or the request is no request.
    Stop,
}

/// A failure and what it leaves open.
#[derive(Debug)]
pub struct Fault {
    /// For the manager.
    pub failure: Failure,
    /// For the loop here.
    pub then: Then,
}

impl Fault {
    /// Only another server may help.
    pub fn new(step: Step, reason: impl Into<String>) -> Self {
        let reason: String = reason.into().chars().take(LONGEST).collect();
        let failure = Failure { step, server: String::new(), status: None, errno: None, cause: None, reason };
        Self { failure, then: Then::Elsewhere }
    }

    /// Nothing helps.
    pub fn stop(step: Step, reason: impl Into<String>) -> Self {
        Self { then: Then::Stop, ..Self::new(step, reason) }
    }

    /// Asking again may help.
    pub fn again(mut self, after: Option<Duration>) -> Self {
        self.then = Then::Again(after);
        self
    }

    /// Adds the cause.
    pub const fn because(mut self, cause: Option<Cause>) -> Self {
        self.failure.cause = cause;
        self
    }

    /// Says which step it was part of.
    pub const fn at(mut self, step: Step) -> Self {
        self.failure.step = step;
        self
    }

    /// Adds the HTTP status.
    pub fn status(mut self, status: u16) -> Self {
        self.failure.status = Some(status);
        self
    }

    /// Says with which server, unless that is known.
    pub fn with(mut self, server: &str) -> Self {
        if self.failure.server.is_empty() {
            server.clone_into(&mut self.failure.server);
        }
        self
    }

    /// An error of input or output, with its errno and the innermost words.
    pub fn io(step: Step, error: &io::Error) -> Self {
        if let Some(errno) = error.raw_os_error() {
            let mut fault = Self::new(step, "");
            fault.failure.errno = Some(errno);
            // What this process may not do, it may not do a moment later either (Landlock, RLIMIT).
            return if error.kind() == io::ErrorKind::PermissionDenied { fault } else { fault.again(None) };
        }
        if let Some(inner) = error.get_ref() {
            if let Some(gone) = inner.downcast_ref::<Gone>() {
                return Self::stop(Step::PassOn, gone.to_string());
            }
            if let Some(refused) = inner.downcast_ref::<Refused>() {
                return Self::new(step, refused.0.clone());
            }
            if let Some(unresolved) = inner.downcast_ref::<Unresolved>() {
                return Self::new(Step::Resolve, unresolved.0);
            }
            if let Some(http) = inner.downcast_ref::<ureq::Error>() {
                return Self::http(step, http);
            }
            if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
                return Self::new(step, tls.to_string()).because(cause(tls));
            }
        }
        let text = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        let fault = Self::new(step, text);
        // A certificate does not become better by waiting.
        if error.kind() == io::ErrorKind::InvalidData { fault } else { fault.again(None) }
    }

    /// An error of the HTTP client.
    pub fn http(step: Step, error: &ureq::Error) -> Self {
        use ureq::Error as E;
        match error {
            E::Io(error) => Self::io(step, error),
            E::Timeout(what) => Self::new(step, format!("no answer in time ({what})")).again(None),
            E::HostNotFound => Self::new(Step::Resolve, "no such name"),
            E::LargeResponseHeader(size, most) => {
                Self::new(step, format!("a header of {size} bytes and more, {most} are read at the most"))
            }
            E::Rustls(error) => Self::new(Step::Connect, error.to_string()).because(cause(error)),
            E::ConnectProxyFailed(reason) => Self::new(Step::Connect, format!("proxy: {reason}")),
            // A connection that ends within a header is a broken connection, whatever it looks like.
            E::Protocol(error) => Self::new(step, error.to_string()).again(None),
            other => Self::new(step, other.to_string()),
        }
    }
}

/// The cause of a failed handshake that a key of the file removes.
fn cause(error: &rustls::Error) -> Option<Cause> {
    use rustls::{CertificateError, InvalidMessage};
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => Some(Cause::UnknownIssuer),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(Cause::NoTls),
        _ => None,
    }
}

/// The manager has closed the connection: nobody waits for anything any more.
#[derive(Debug)]
pub struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the manager has gone")
    }
}

impl std::error::Error for Gone {}

/// A rule of ours refuses; the text says which.
#[derive(Debug)]
pub struct Refused(pub String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// A name server answers, but with nothing that could be used.
#[derive(Debug)]
pub struct Unresolved(pub &'static str);

impl std::fmt::Display for Unresolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unresolved {}
