//! An image reference that pins: `registry/name[:tag]@sha256:…`.

use casemate_wire::Digest;

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
