//! The error of a step: object, errno and kind. The caller that runs the steps adds the step's name.

use casemate_wire::{Failure, FailureKind};
use rustix::io::Errno;
use std::fmt::{self, Display};
use std::io;

/// An error of a step, still without the step's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    object: String,
    errno: Option<i32>,
    kind: FailureKind,
}

impl Error {
    fn new(kind: FailureKind, reason: impl Display) -> Self {
        Self { object: reason.to_string(), errno: None, kind }
    }

    /// A rule was broken; `reason` names the object and the rule.
    pub fn refused(reason: impl Display) -> Self {
        Self::new(FailureKind::Refused, reason)
    }

    /// The container or its image cannot run so.
    pub fn container(reason: impl Display) -> Self {
        Self::new(FailureKind::Container, reason)
    }

    /// This host cannot apply a control (exit code 5).
    pub fn not_enforceable(reason: impl Display) -> Self {
        Self::new(FailureKind::NotEnforceable, reason)
    }

    /// Marks the failure as one of the host's ability.
    pub fn as_not_enforceable(mut self) -> Self {
        self.kind = FailureKind::NotEnforceable;
        self
    }

    /// Says what may be behind it.
    pub fn hint(mut self, question: &str) -> Self {
        self.object.push_str(&format!(" ({question})"));
        self
    }

    /// A system call failed on the object.
    pub fn of(object: impl Display, error: &io::Error) -> Self {
        match error.raw_os_error() {
            errno @ Some(_) => Self { errno, ..Self::container(object) },
            None => Self::container(format_args!("{object}: {error}")),
        }
    }

    /// Names the step.
    pub fn in_step(self, step: &str) -> Failure {
        Failure { step: step.to_owned(), object: self.object, errno: self.errno, kind: self.kind }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.object)?;
        self.errno.map_or(Ok(()), |errno| write!(f, ": {}", io::Error::from_raw_os_error(errno)))
    }
}

/// Names the object that a system call failed on.
pub trait At<T> {
    /// Turns the error into a [`Error`] of that object.
    fn at(self, object: impl Display) -> Result<T, Error>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, object: impl Display) -> Result<T, Error> {
        self.map_err(|errno| Error::of(object, &errno.into()))
    }
}

impl<T> At<T> for io::Result<T> {
    fn at(self, object: impl Display) -> Result<T, Error> {
        self.map_err(|error| Error::of(object, &error))
    }
}
