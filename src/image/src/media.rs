//! The media types that are read: OCI image-spec, media-types.md, and Docker's image manifest version 2, schema 2.

use super::flaw::Flaw;

pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const OCI_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const OCI_TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(super) const OCI_TAR_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_TAR_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_TAR_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// Refuses what is no media type at all (RFC 6838, section 4.2).
pub(super) fn check_grammar(media_type: &str) -> Result<(), Flaw> {
    let inner = |c: u8| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c);
    let name = |name: &str| {
        let starts = name.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
        starts && name.len() <= 127 && name.bytes().all(inner)
    };
    match media_type.split_once('/') {
        Some((kind, subtype)) if name(kind) && name(subtype) => Ok(()),
        _ => Err(Flaw::Text {
            what: "media type",
            reason: "is not type/subtype",
            found: media_type.chars().take(256).collect(),
        }),
    }
}

/// What a document is, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Names manifests, one a platform.
    Index,
    /// Names a config and layers.
    Manifest,
}

/// What a media type of an index's or a layout's entry stands for; `None` for anything else.
pub(super) fn kind(media_type: &str) -> Option<Kind> {
    match media_type {
        OCI_INDEX | DOCKER_LIST => Some(Kind::Index),
        OCI_MANIFEST | DOCKER_MANIFEST => Some(Kind::Manifest),
        _ => None,
    }
}

/// Checks what a document says of itself against the descriptor that led to it. OCI documents may be silent; Docker's may not.
pub(super) fn check_document(descriptor: &str, document: Option<&str>) -> Result<(), Flaw> {
    match document {
        Some(own) if own == descriptor => Ok(()),
        None if descriptor == OCI_INDEX || descriptor == OCI_MANIFEST => Ok(()),
        own => {
            Err(Flaw::MediaType { descriptor: descriptor.to_owned(), document: own.unwrap_or("nothing").to_owned() })
        }
    }
}

/// Refuses a config that is not an image's.
pub(super) fn check_config(media_type: &str) -> Result<(), Flaw> {
    match media_type {
        OCI_CONFIG | DOCKER_CONFIG => Ok(()),
        other => Err(Flaw::NotAnImage(other.to_owned())),
    }
}

/// Refuses a layer that is no tar archive, plain, gzip or zstd, of this image. Which of the three it is, unpack finds out
/// by its first bytes: what matters is the diff_id.
pub(super) fn check_layer(media_type: &str) -> Result<(), Flaw> {
    let found = media_type.to_owned();
    match media_type {
        OCI_TAR | OCI_TAR_GZIP | OCI_TAR_ZSTD | DOCKER_TAR | DOCKER_TAR_GZIP | DOCKER_TAR_ZSTD => Ok(()),
        other if other.ends_with("+encrypted") => Err(Flaw::EncryptedLayer(found)),
        other if other.contains(".foreign.") || other.contains(".nondistributable.") => Err(Flaw::ForeignLayer(found)),
        _ => Err(Flaw::NotSupported { place: "layer", found }),
    }
}
