//! The error of a request, and whether to retry: the same server, the next one, or not at all.

use casemate_fetch_wire::{Cause, Failure, Step};
use std::error::Error as _;
use std::io;
use std::time::Duration;

/// Maximum length of a reason, in characters.
const MAX_REASON: usize = 400;

/// What to try after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same server, after the time that it asked for.
    SameServer(Option<Duration>),
    /// The next server.
    NextServer,
    /// Nothing: the manager has closed the connection, or the request is invalid.
    Stop,
}

/// An error, and what to try after it.
#[derive(Debug)]
pub struct Error {
    /// The reply to the manager.
    pub failure: Failure,
    /// What to try next.
    pub retry: Retry,
}

impl Error {
    /// An error after which the next server is tried.
    pub fn new(step: Step, reason: impl Into<String>) -> Self {
        let reason: String = reason.into().chars().take(MAX_REASON).collect();
        let failure = Failure { step, server: String::new(), status: None, errno: None, cause: None, reason };
        Self { failure, retry: Retry::NextServer }
    }

    /// An error after which nothing is tried.
    pub fn stop(step: Step, reason: impl Into<String>) -> Self {
        Self { retry: Retry::Stop, ..Self::new(step, reason) }
    }

    /// The same server is tried again, after this time.
    pub fn retryable(mut self, after: Option<Duration>) -> Self {
        self.retry = Retry::SameServer(after);
        self
    }

    /// Adds the cause.
    pub const fn with_cause(mut self, cause: Option<Cause>) -> Self {
        self.failure.cause = cause;
        self
    }

    /// Sets the step.
    pub const fn at(mut self, step: Step) -> Self {
        self.failure.step = step;
        self
    }

    /// Adds the HTTP status.
    pub fn status(mut self, status: u16) -> Self {
        self.failure.status = Some(status);
        self
    }

    /// Sets the server, unless it is set.
    pub fn with_server(mut self, server: &str) -> Self {
        if self.failure.server.is_empty() {
            server.clone_into(&mut self.failure.server);
        }
        self
    }

    /// An I/O error, with its errno or the innermost error of the HTTP client.
    pub fn io(step: Step, error: &io::Error) -> Self {
        if let Some(errno) = error.raw_os_error() {
            let mut fault = Self::new(step, "");
            fault.failure.errno = Some(errno);
            // A retry cannot help against Landlock or a resource limit.
            return if error.kind() == io::ErrorKind::PermissionDenied { fault } else { fault.retryable(None) };
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
                return Self::new(step, tls.to_string()).with_cause(cause(tls));
            }
        }
        let text = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        let fault = Self::new(step, text);
        // A retry cannot help against an invalid certificate.
        if error.kind() == io::ErrorKind::InvalidData { fault } else { fault.retryable(None) }
    }

    /// An error of the HTTP client.
    pub fn http(step: Step, error: &ureq::Error) -> Self {
        use ureq::Error as E;
        match error {
            E::Io(error) => Self::io(step, error),
            E::Timeout(what) => Self::new(step, format!("no answer in time ({what})")).retryable(None),
            E::HostNotFound => Self::new(Step::Resolve, "no such name"),
            E::LargeResponseHeader(size, most) => {
                Self::new(step, format!("a header of {size} bytes or more; the limit is {most}"))
            }
            E::Rustls(error) => Self::new(Step::Connect, error.to_string()).with_cause(cause(error)),
            E::ConnectProxyFailed(reason) => Self::new(Step::Connect, format!("proxy: {reason}")),
            // The client reports a connection that ends within a header as this.
            E::Protocol(error) => Self::new(step, error.to_string()).retryable(None),
            other => Self::new(step, other.to_string()),
        }
    }
}

/// The cause of a failed handshake, if a key of the file can remove it.
fn cause(error: &rustls::Error) -> Option<Cause> {
    use rustls::{CertificateError, InvalidMessage};
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => Some(Cause::UnknownIssuer),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(Cause::NoTls),
        _ => None,
    }
}

/// The manager has closed the connection.
#[derive(Debug)]
pub struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the manager has closed the connection")
    }
}

impl std::error::Error for Gone {}

/// Refused by a rule of this program, which the text names.
#[derive(Debug)]
pub struct Refused(pub String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// The name server's answer cannot be used.
#[derive(Debug)]
pub struct Unresolved(pub &'static str);

impl std::fmt::Display for Unresolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unresolved {}
