//! What a verb says when it cannot do what was asked, and the exit code that goes with it.

use crate::{Code, escaped};
use std::fmt;

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

    /// Puts in front what it was about.
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
    fn threat_29_an_error_is_one_line_without_control_bytes() {
        let name = "a\u{1b}[2J\nb\u{9b}c\u{202e}d";
        let error = Error::new(Code::Usage, name, "open", "no such file").remedy("name\ta file");
        assert_eq!(error.to_string(), "a\\u{1b}[2J\\nb\\u{9b}c\\u{202e}d: open: no such file; name\\ta file");
    }
}
