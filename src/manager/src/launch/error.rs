//! Which step on the way to the manager failed, on what, and what to do.

use std::fmt;
use std::path::Path;

/// A step of the launch that failed. Nothing was started by it.
#[derive(Debug)]
pub struct Error {
    object: String,
    step: &'static str,
    reason: String,
    remedy: Option<String>,
}

impl Error {
    pub(super) fn new(object: impl fmt::Display, step: &'static str, reason: impl fmt::Display) -> Self {
        Self { object: object.to_string(), step, reason: reason.to_string(), remedy: None }
    }

    pub(super) fn at(path: &Path, step: &'static str, reason: impl fmt::Display) -> Self {
        Self::new(path.display(), step, reason)
    }

    pub(super) fn remedy(mut self, what_to_do: impl Into<String>) -> Self {
        self.remedy = Some(what_to_do.into());
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
