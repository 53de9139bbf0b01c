//! What went wrong in a step: the object, the errno and the kind. The step's name is added by whoever runs the step.

use casemate_wire::{Failure, FailureKind};
use rustix::io::Errno;
use std::fmt::Display;

/// A failure that does not know its step's name yet.
#[derive(Debug)]
pub struct Fault {
    object: String,
    errno: Option<i32>,
    kind: FailureKind,
}

impl Fault {
    /// A rule was broken; `reason` names the object and the rule.
    pub fn refused(reason: impl Display) -> Self {
        Self { object: reason.to_string(), errno: None, kind: FailureKind::Refused }
    }

    /// The container or its image cannot run so.
    pub fn container(reason: impl Display) -> Self {
        Self { object: reason.to_string(), errno: None, kind: FailureKind::Container }
    }

    /// This host cannot apply a control.
    pub fn not_enforceable(reason: impl Display) -> Self {
        Self { object: reason.to_string(), errno: None, kind: FailureKind::NotEnforceable }
    }

    /// Marks the failure as one of the host's ability.
    pub fn as_not_enforceable(mut self) -> Self {
        self.kind = FailureKind::NotEnforceable;
        self
    }

    /// Names the step.
    pub fn in_step(self, step: &str) -> Failure {
        Failure { step: step.to_owned(), object: self.object, errno: self.errno, kind: self.kind }
    }

    /// The errno, where there is one.
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }
}

/// Names the object that a system call failed on.
pub trait At<T> {
    /// Turns the error into a [`Fault`] of that object.
    fn at(self, object: impl Display) -> Result<T, Fault>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, object: impl Display) -> Result<T, Fault> {
        self.map_err(|errno| Fault {
            object: object.to_string(),
            errno: Some(errno.raw_os_error()),
            kind: FailureKind::Container,
        })
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, object: impl Display) -> Result<T, Fault> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => {
                Fault { object: object.to_string(), errno: Some(errno), kind: FailureKind::Container }
            }
            None => Fault::container(format!("{object}: {error}")),
        })
    }
}
