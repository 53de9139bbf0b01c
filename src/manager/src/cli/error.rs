//! What a verb says when it cannot do what was asked, and the exit code that goes with it.

use crate::helper_client::ClientError;
use casemate_wire::FailureKind;
use std::fmt;
use std::process::ExitCode;

/// The exit codes besides 0, stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A container, or the work itself, failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The file is wrong.
    Spec = 3,
    /// Bytes are not what was pinned.
    Verification = 4,
    /// This host cannot apply a control.
    NotEnforceable = 5,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// `casemate: <object>: <step>: <reason>; <what to do>`.
#[derive(Debug)]
pub struct Error {
    code: Code,
    text: String,
    remedy: Option<String>,
}

impl Error {
    /// What it was about, which step failed, and why.
    pub fn new(code: Code, object: impl fmt::Display, step: &str, reason: impl fmt::Display) -> Self {
        Self { code, text: format!("{object}: {step}: {reason}"), remedy: None }
    }

    /// An error that already names object, step and reason.
    pub fn told(code: Code, error: impl fmt::Display) -> Self {
        Self { code, text: error.to_string(), remedy: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn remedy(mut self, what_to_do: impl Into<String>) -> Self {
        self.remedy = Some(what_to_do.into());
        self
    }

    /// The exit code.
    pub fn code(&self) -> Code {
        self.code
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(&self.text))?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {}", escaped(remedy)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Failed(failure) => match failure.kind {
                FailureKind::Container | FailureKind::Refused => Code::Failed,
                FailureKind::Verification => Code::Verification,
                FailureKind::NotEnforceable => Code::NotEnforceable,
            },
            _ => Code::Failed,
        };
        Self::told(code, error)
    }
}

impl From<crate::launch::Error> for Error {
    fn from(error: crate::launch::Error) -> Self {
        Self::told(Code::Failed, error)
    }
}

impl From<crate::plan::Error> for Error {
    fn from(error: crate::plan::Error) -> Self {
        let code = match error.kind {
            crate::plan::Kind::Spec => Code::Spec,
            crate::plan::Kind::Verification => Code::Verification,
            crate::plan::Kind::NotEnforceable => Code::NotEnforceable,
        };
        Self::told(code, error)
    }
}

impl From<crate::supervise::Error> for Error {
    fn from(error: crate::supervise::Error) -> Self {
        match error {
            crate::supervise::Error::Helper(error @ ClientError::Failed(_)) => error.into(),
            error => Self::told(Code::Failed, error),
        }
    }
}

/// The text with control characters, the C1 ones and those that reorder text included, shown instead of obeyed: file
/// names, image names and what a container wrote may end up in it. Line breaks too: one error is one line.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| escape(c, &mut out));
    out
}

/// Appends one character of [`escaped`].
pub fn escape(c: char, out: &mut String) {
    let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || reorders {
        out.extend(c.escape_default());
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_29_an_error_is_one_line_without_control_bytes() {
        let name = "a\u{1b}[2J\nb\u{9b}c\u{202e}d";
        let error = Error::new(Code::Usage, name, "open", "no such file").remedy("name\ta file");
        assert_eq!(error.to_string(), "a\\u{1b}[2J\\nb\\u{9b}c\\u{202e}d: open: no such file; name\\ta file");
    }
}
