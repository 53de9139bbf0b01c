//! A sha256 digest: 32 bytes that print as `sha256:` and 64 lower-case hexadecimal digits.

use crate::{Error, hex};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A sha256 digest. OCI image-spec, descriptor.md: the only algorithm accepted here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

const SPELLING: Error = Error("a digest is `sha256:` and 64 lower-case hexadecimal digits");

impl Digest {
    /// The digest whose bytes these are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits, as used for file names.
    pub fn hex(&self) -> String {
        hex::encode(&self.0)
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, Error> {
        hex::decode(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(SPELLING)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::from_hex(text.strip_prefix("sha256:").ok_or(SPELLING)?)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_only() {
        let text = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        for bad in [
            "".to_owned(),
            "sha256:".to_owned(),
            text.to_uppercase(),
            text.replace("sha256", "sha512"),
            format!("{text}0"),
            text.replacen('a', "é", 1),
            format!("sha256: {}", &text[8..]),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
