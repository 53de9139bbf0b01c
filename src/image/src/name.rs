//! Names of images: for people, and in a form that a file takes (`registry/repository[:tag]`), so that a pin can be pasted.

use super::error::Error;
use casemate_spec::ImagePin;
use casemate_wire::Digest;
use std::path::Path;

/// The registry of what no registry gave.
const LOCAL: &str = "localhost";
/// What docker means by a name without registry.
const DOCKER: &str = "docker.io";

/// A name that the caller gave; without a registry it is `localhost/NAME`.
pub fn given(text: &str) -> Result<String, Error> {
    let name = if valid(text) { text.to_owned() } else { format!("{LOCAL}/{text}") };
    if valid(&name) {
        return Ok(name);
    }
    let reason = "a name is [REGISTRY/]REPOSITORY[:TAG] in lower-case letters, digits, `.`, `_`, `-`".to_owned();
    Err(Error::Name { given: text.to_owned(), reason })
}

/// A name in docker's short form: `busybox` is `docker.io/library/busybox`. `None` where it has no grammar.
pub(super) fn from_docker(text: &str) -> Option<String> {
    let path = if text.contains('/') { format!("{DOCKER}/{text}") } else { format!("{DOCKER}/library/{text}") };
    [text.to_owned(), path].into_iter().find(|name| valid(name))
}

/// A `org.opencontainers.image.ref.name`, which is a whole name, one without registry, or, most often, a tag of what the
/// input's file name says.
pub(super) fn from_ref_name(ref_name: &str, input: &Path) -> String {
    let tagged = || format!("{}:{ref_name}", from_path(input));
    let local = format!("{LOCAL}/{ref_name}");
    let local = Some(local).filter(|_| ref_name.contains(['/', ':']));
    [Some(ref_name.to_owned()), local, Some(tagged())]
        .into_iter()
        .flatten()
        .find(|name| valid(name))
        .unwrap_or_else(|| from_path(input))
}

/// The name of an input that has none.
pub fn from_path(input: &Path) -> String {
    let stem = input.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let stem = stem.strip_suffix(".tar").unwrap_or(&stem);
    let words = stem.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    let words = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    let name = format!("{LOCAL}/{words}");
    if valid(&name) { name } else { format!("{LOCAL}/image") }
}

/// Whether a registry has what is called so, so that it can be pulled.
pub(super) fn is_of_a_registry(name: &str) -> bool {
    name.split('/').next() != Some(LOCAL)
}

/// `name@sha256:…`, as it goes into a file.
pub fn pinned(name: &str, pin: &Digest) -> String {
    format!("{name}@{pin}")
}

/// Whether a file takes the name before a digest: one grammar for both.
fn valid(name: &str) -> bool {
    !name.contains('@') && ImagePin::parse(&pinned(name, &Digest::from_bytes([0; 32]))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_pasted_into_a_file() {
        assert_eq!(given("probe").unwrap(), "localhost/probe");
        assert_eq!(given("probe:1").unwrap(), "localhost/probe:1");
        assert_eq!(given("quay.io/a/b:1").unwrap(), "quay.io/a/b:1");
        for bad in ["", "A", "a b", "a@sha256:00", "../a", "a\n", "a:"] {
            assert!(given(bad).is_err(), "{bad:?}");
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
