//! Names of images: `registry/repository[:tag]`, the grammar of the file, so that a name with its digest can be pasted there.

use casemate_spec::ImagePin;
use casemate_wire::Digest;
use std::fmt;
use std::path::Path;

/// The registry part of images that were not pulled from a registry.
const LOCAL: &str = "localhost";
/// The registry that docker means by a name without one.
const DOCKER: &str = "docker.io";

/// A text that breaks the grammar of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The text.
    pub name: String,
}

impl Error {
    /// The grammar.
    pub(crate) const REASON: &str =
        "a name is [REGISTRY/]REPOSITORY[:TAG] in lower-case letters, digits, `.`, `_`, `-`";
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.name.escape_debug(), Self::REASON)
    }
}

impl std::error::Error for Error {}

/// Parses a name from the command line; without a registry it is `localhost/NAME`.
pub fn parse(text: &str) -> Result<String, Error> {
    let name = if valid(text) { text.to_owned() } else { format!("{LOCAL}/{text}") };
    if valid(&name) { Ok(name) } else { Err(Error { name: text.to_owned() }) }
}

/// Completes docker's short form: `busybox` is `docker.io/library/busybox`. `None` where the text is not a name.
pub(crate) fn from_docker(text: &str) -> Option<String> {
    let path = if text.contains('/') { format!("{DOCKER}/{text}") } else { format!("{DOCKER}/library/{text}") };
    [text.to_owned(), path].into_iter().find(|name| valid(name))
}

/// The name of a layout's entry by its `org.opencontainers.image.ref.name`: a whole name, one without registry, or, mostly, a tag,
/// which is put behind the name of the input's file.
pub(crate) fn from_ref_name(ref_name: &str, input: &Path) -> String {
    let tagged = || format!("{}:{ref_name}", from_path(input));
    let local = format!("{LOCAL}/{ref_name}");
    let local = Some(local).filter(|_| ref_name.contains(['/', ':']));
    [Some(ref_name.to_owned()), local, Some(tagged())]
        .into_iter()
        .flatten()
        .find(|name| valid(name))
        .unwrap_or_else(|| from_path(input))
}

/// A name made from the file name of an input that gives none.
pub fn from_path(input: &Path) -> String {
    let stem = input.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let stem = stem.strip_suffix(".tar").unwrap_or(&stem);
    let words = stem.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    let words = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    let name = format!("{LOCAL}/{words}");
    if valid(&name) { name } else { format!("{LOCAL}/image") }
}

/// Whether the name has a registry that can be pulled from.
pub(crate) fn has_registry(name: &str) -> bool {
    name.split('/').next() != Some(LOCAL)
}

/// `name@sha256:…`, as a file pins an image.
pub fn pinned(name: &str, pin: &Digest) -> String {
    format!("{name}@{pin}")
}

/// Whether a file accepts the name before a digest.
fn valid(name: &str) -> bool {
    !name.contains('@') && ImagePin::parse(&pinned(name, &Digest::from_bytes([0; 32]))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_grammar_of_the_file() {
        assert_eq!(parse("probe").unwrap(), "localhost/probe");
        assert_eq!(parse("probe:1").unwrap(), "localhost/probe:1");
        assert_eq!(parse("quay.io/a/b:1").unwrap(), "quay.io/a/b:1");
        for bad in ["", "A", "a b", "a@sha256:00", "../a", "a\n", "a:"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(from_docker("busybox:latest").as_deref(), Some("docker.io/library/busybox:latest"));
        assert_eq!(from_docker("grafana/loki").as_deref(), Some("docker.io/grafana/loki"));
        assert_eq!(from_docker("localhost:5000/a:1").as_deref(), Some("localhost:5000/a:1"));
        assert_eq!(from_docker("\u{1b}[2J"), None);
        assert_eq!(from_ref_name("1.0", Path::new("/x/My App.tar")), "localhost/my-app:1.0");
        assert_eq!(from_ref_name("quay.io/a:1", Path::new("x")), "quay.io/a:1");
        assert_eq!(from_ref_name("app:2", Path::new("/x/o.tar")), "localhost/app:2");
        assert_eq!(from_ref_name("team/app", Path::new("o.tar")), "localhost/team/app");
        assert_eq!(from_ref_name("\n", Path::new("...")), "localhost/image");
    }
}
