//! The launch error: object, step, reason, remedy.

use casemate_error::Code;
use std::fmt;
use std::path::Path;

/// A failed step of the launch. No process is left of it.
#[derive(Debug)]
pub struct Error {
    object: String,
    step: &'static str,
    reason: String,
    remedy: Option<String>,
    not_enforceable: bool,
}

impl Error {
    pub(super) fn new(object: impl fmt::Display, step: &'static str, reason: impl fmt::Display) -> Self {
        Self { object: object.to_string(), step, reason: reason.to_string(), remedy: None, not_enforceable: false }
    }

    pub(super) fn at(path: &Path, step: &'static str, reason: impl fmt::Display) -> Self {
        Self::new(path.display(), step, reason)
    }

    /// Marks an error of the host: it lacks a feature that every container needs.
    pub(super) fn not_enforceable(mut self) -> Self {
        self.not_enforceable = true;
        self
    }

    /// The exit code.
    pub fn code(&self) -> Code {
        if self.not_enforceable { Code::NotEnforceable } else { Code::Failed }
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.object, self.step, self.reason)?;
        self.remedy.iter().try_for_each(|remedy| write!(f, "; {remedy}"))
    }
}

impl std::error::Error for Error {}

impl From<Error> for casemate_error::Error {
    fn from(error: Error) -> Self {
        Self::from_display(error.code(), error)
    }
}
