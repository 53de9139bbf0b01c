//! The error of a plan: the container, the violated rule, the reason, the remedy.

use casemate_error::Code;
use casemate_wire::Name;
use std::fmt;

/// A container cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The container.
    pub container: Name,
    /// The rule's or control's id, as `limits` or `image-command`.
    pub rule: &'static str,
    /// The reason.
    pub reason: String,
    /// What the user can do.
    pub remedy: Option<String>,
    /// The exit code.
    pub code: Code,
}

/// An error of one rule; the caller adds the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RuleError {
    rule: &'static str,
    reason: String,
    remedy: Option<String>,
    code: Code,
}

impl RuleError {
    pub(super) fn new(code: Code, rule: &'static str, reason: impl Into<String>) -> Self {
        Self { rule, reason: reason.into(), remedy: None, code }
    }

    pub(super) fn spec(rule: &'static str, reason: impl Into<String>) -> Self {
        Self::new(Code::Spec, rule, reason)
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(super) fn for_container(self, container: &Name) -> Error {
        let Self { rule, reason, remedy, code } = self;
        Error { container: container.clone(), rule, reason, remedy, code }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "container `{}`: {}: {}", self.container, self.rule, self.reason)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for casemate_error::Error {
    fn from(error: Error) -> Self {
        Self::from_display(error.code, error)
    }
}
