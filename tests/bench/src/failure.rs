//! Why a figure could not be taken.

use std::fmt;

/// A step of the benchmark that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    step: String,
    reason: String,
}

impl Failure {
    /// What was done, to what, and why it failed.
    pub fn new(step: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self { step: format!("{step}"), reason: format!("{reason}") }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.reason)
    }
}

impl std::error::Error for Failure {}

/// The result of a step.
pub type Result<T> = std::result::Result<T, Failure>;

/// Names the step that an error belongs to.
pub trait Step<T> {
    /// `step` says what was done, and to what.
    fn step(self, step: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Step<T> for std::result::Result<T, E> {
    fn step(self, step: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure::new(step, error))
    }
}
