//! The error of a verb, and its exit code.

use crate::{Code, escaped};
use std::fmt;

/// Printed as `casemate: <object>: <step>: <reason>; <remedy>`.
#[derive(Debug)]
pub struct Error {
    code: Code,
    text: String,
    remedy: Option<String>,
}

impl Error {
    /// The object, the step that failed on it, and the reason.
    pub fn new(code: Code, object: impl fmt::Display, step: &str, reason: impl fmt::Display) -> Self {
        Self { code, text: format!("{object}: {step}: {reason}"), remedy: None }
    }

    /// From an error whose text already names object, step and reason.
    pub fn from_display(code: Code, error: impl fmt::Display) -> Self {
        Self { code, text: error.to_string(), remedy: None }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Puts one more object in front.
    #[must_use]
    pub fn about(mut self, object: impl fmt::Display) -> Self {
        self.text = format!("{object}: {}", self.text);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_29_error_is_one_line_without_control_bytes() {
        let name = "a\u{1b}[2J\nb\u{9b}c\u{202e}d";
        let error = Error::new(Code::Usage, name, "open", "no such file").remedy("name\ta file");
        assert_eq!(error.to_string(), "a\\u{1b}[2J\\nb\\u{9b}c\\u{202e}d: open: no such file; name\\ta file");
    }
}
