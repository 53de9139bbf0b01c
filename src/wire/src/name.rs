//! Names of containers and volumes: they become file names, cgroup names and host names, so the alphabet is small.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::fmt;

/// 1 to 63 bytes of `a-z`, `0-9` and `-`, not at either end a `-` (RFC 1123 label).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

const SPELLING: Error = Error("a name is 1 to 63 characters of a-z, 0-9 and `-`, with a letter or digit at both ends");

impl Name {
    /// Checks and takes the text.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        let inner = text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        let ends = !text.starts_with('-') && !text.ends_with('-');
        if inner && ends && (1..=63).contains(&text.len()) { Ok(Self(text)) } else { Err(SPELLING) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        Self::new(text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_as_a_file_name() {
        for good in ["a", "db", "web-1", &"x".repeat(63)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", ".", "..", "a/b", "A", "a_b", "a\n", "a\0", "é", &"x".repeat(64)] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }
}
