//! An image reference that pins: `registry/name[:tag]@sha256:…`.
//!
//! Enters: text. Leaves: an [`ImagePin`], or what keeps the text from being one. The grammar is that of the distribution
//! specification (a name's parts, a tag) with one addition: the registry has to be there, as nothing is looked up by habit.

use casemate_wire::{Digest, Name};
use std::fmt;

/// A pinned image. Only the digest decides what runs; the rest says where it came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImagePin {
    /// Host and, where one is given, port.
    pub registry: String,
    /// The repository's path.
    pub repository: String,
    /// For people; nothing is looked up by it.
    pub tag: Option<String>,
    /// The digest of the manifest or of the index.
    pub digest: Digest,
}

/// Why a text is not an [`ImagePin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePinError {
    /// There is no `@sha256:…`.
    NoDigest,
    /// What follows the `@` is not a sha256 digest.
    Digest,
    /// The part before the first `/` is not a registry.
    Registry,
    /// The repository's path breaks the grammar.
    Repository,
    /// The tag breaks the grammar.
    Tag,
}

impl fmt::Display for ImagePinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoDigest => "the image is not pinned: a tag can be moved, only a digest names the bytes that run",
            Self::Digest => "what follows `@` has to be `sha256:` and 64 lower-case hexadecimal digits",
            Self::Registry => {
                "the part before the first `/` has to be a registry: a host name with a dot, `localhost`, or a host with a port"
            }
            Self::Repository => {
                "a repository is lower-case letters, digits, and single `.`, `_` or `-` between them, parted by `/`"
            }
            Self::Tag => "a tag is up to 128 letters, digits, `_`, `.` and `-`, and does not start with `.` or `-`",
        })
    }
}

impl std::error::Error for ImagePinError {}

impl ImagePin {
    /// Checks and takes the text.
    pub fn parse(text: &str) -> Result<Self, ImagePinError> {
        let (name, digest) = text.split_once('@').ok_or(ImagePinError::NoDigest)?;
        let digest = digest.parse().map_err(|_| ImagePinError::Digest)?;
        let (registry, path) = name.split_once('/').ok_or(ImagePinError::Registry)?;
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if !is_registry(registry) {
            return Err(ImagePinError::Registry);
        }
        // 255 bytes with the registry: the distribution specification's bound for clients that meet other registries.
        if !repository.split('/').all(is_part) || registry.len() + 1 + repository.len() > 255 {
            return Err(ImagePinError::Repository);
        }
        if !tag.is_none_or(is_tag) {
            return Err(ImagePinError::Tag);
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for ImagePin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        write!(f, "@{}", self.digest)
    }
}

/// A host name with a dot, `localhost`, or any host with a port: the line that docker draws between a registry and a path.
pub(crate) fn is_registry(text: &str) -> bool {
    match host_and_port(text) {
        Some((host, port)) => host.contains('.') || host.starts_with('[') || host == "localhost" || port.is_some(),
        None => false,
    }
}

/// A host, an IPv6 address in brackets, and the port behind it; `None` where the text is neither.
pub fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        Some(port) => {
            Some(super::values::digits(port).and_then(|port| port.try_into().ok()).filter(|port| *port != 0)?)
        }
        None => None,
    };
    let host_is_one = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => host.split('.').all(|label| Name::new(label).is_ok()),
    };
    host_is_one.then_some((host, port))
}

/// One part of a repository's path: runs of letters and digits with `.`, `_`, `__` or dashes between them.
pub(crate) fn is_part(text: &str) -> bool {
    let word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(word) && text.bytes().next_back().is_some_and(word);
    let separators = text
        .as_bytes()
        .split(|c| word(*c))
        .all(|run| matches!(run, b"" | b"." | b"_" | b"__") || run.iter().all(|c| *c == b'-'));
    ends && separators
}

fn is_tag(text: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    text.bytes().next().is_some_and(word)
        && text.len() <= 128
        && text.bytes().all(|c| word(c) || c == b'.' || c == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pin_prints_as_it_was_parsed() {
        let digest = format!("@sha256:{}", "0a".repeat(32));
        for name in [
            "docker.io/library/postgres:17", "registry.site.example:5000/app", "localhost/probe",
            "host:5000/a/b-c/d__e/f.g_h:V1.0-x_y", "[::1]:5000/a", "[fd00::1]/a", "127.0.0.1/a---b",
        ] {
            let text = format!("{name}{digest}");
            assert_eq!(ImagePin::parse(&text).map(|pin| pin.to_string()), Ok(text));
        }
    }

    #[test]
    fn what_is_not_a_pin() {
        let good = format!("sha256:{}", "0a".repeat(32));
        for (text, error) in [
            ("docker.io/library/postgres:17".to_owned(), ImagePinError::NoDigest),
            (String::new(), ImagePinError::NoDigest),
            ("docker.io/a@".to_owned(), ImagePinError::Digest),
            ("docker.io/a@sha256:00".to_owned(), ImagePinError::Digest),
            (format!("docker.io/a@{}", good.to_uppercase()), ImagePinError::Digest),
            (format!("docker.io/a@{good}@{good}"), ImagePinError::Digest),
            (format!("docker.io/a@{good} "), ImagePinError::Digest),
            (format!("postgres@{good}"), ImagePinError::Registry),
            (format!("library/postgres@{good}"), ImagePinError::Registry),
            (format!("/a@{good}"), ImagePinError::Registry),
            (format!("host:0/a@{good}"), ImagePinError::Registry),
            (format!("host:65536/a@{good}"), ImagePinError::Registry),
            (format!("host:/a@{good}"), ImagePinError::Registry),
            (format!("[::1/a@{good}"), ImagePinError::Registry),
            (format!("Docker.io/a@{good}"), ImagePinError::Registry),
            (format!("https://docker.io/a@{good}"), ImagePinError::Registry),
            (format!("docker.io/@{good}"), ImagePinError::Repository),
            (format!("docker.io/a//b@{good}"), ImagePinError::Repository),
            (format!("docker.io/../b@{good}"), ImagePinError::Repository),
            (format!("docker.io/a..b@{good}"), ImagePinError::Repository),
            (format!("docker.io/a___b@{good}"), ImagePinError::Repository),
            (format!("docker.io/A@{good}"), ImagePinError::Repository),
            (format!("docker.io/{}@{good}", "a".repeat(250)), ImagePinError::Repository),
            (format!("docker.io/a:@{good}"), ImagePinError::Tag),
            (format!("docker.io/a:.x@{good}"), ImagePinError::Tag),
            (format!("docker.io/a:x:y@{good}"), ImagePinError::Tag),
            (format!("docker.io/a:{}@{good}", "x".repeat(129)), ImagePinError::Tag),
            (format!("docker.io/a:x\n@{good}"), ImagePinError::Tag),
        ] {
            assert_eq!(ImagePin::parse(&text), Err(error), "{text:?}");
        }
    }
}
