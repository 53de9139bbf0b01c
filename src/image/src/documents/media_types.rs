//! The media types that are supported: OCI image-spec, media-types.md, and Docker's image manifest version 2, schema 2.

use super::error::Error;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const OCI_TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const OCI_TAR_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_TAR_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_TAR_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// Refuses text that breaks the grammar of media types (RFC 6838, section 4.2).
pub(super) fn check_grammar(media_type: &str) -> Result<(), Error> {
    let inner = |c: u8| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c);
    let name = |name: &str| {
        let starts = name.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
        starts && name.len() <= 127 && name.bytes().all(inner)
    };
    match media_type.split_once('/') {
        Some((kind, subtype)) if name(kind) && name(subtype) => Ok(()),
        _ => Err(Error::Text {
            what: "media type",
            reason: "is not type/subtype",
            found: media_type.chars().take(256).collect(),
        }),
    }
}

/// The kind of a document that a pin can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A list of manifests, one a platform.
    Index,
    /// A config and layers.
    Manifest,
}

/// The kind of document that a media type stands for; `None` for anything but an index or a manifest.
pub(crate) fn kind(media_type: &str) -> Option<Kind> {
    match media_type {
        OCI_INDEX | DOCKER_LIST => Some(Kind::Index),
        OCI_MANIFEST | DOCKER_MANIFEST => Some(Kind::Manifest),
        _ => None,
    }
}

/// Compares a document's own `mediaType` with its descriptor's. It is optional in OCI documents and required in Docker's.
pub(super) fn check_document(descriptor: &str, document: Option<&str>) -> Result<(), Error> {
    match document {
        Some(own) if own == descriptor => Ok(()),
        None if descriptor == OCI_INDEX || descriptor == OCI_MANIFEST => Ok(()),
        own => {
            Err(Error::MediaType { descriptor: descriptor.to_owned(), document: own.unwrap_or("nothing").to_owned() })
        }
    }
}

/// Refuses a config that is not an image config.
pub(super) fn check_config(media_type: &str) -> Result<(), Error> {
    match media_type {
        OCI_CONFIG | DOCKER_CONFIG => Ok(()),
        other => Err(Error::NotAnImage(other.to_owned())),
    }
}

/// Refuses a layer that is not a tar archive, plain or compressed with gzip or zstd. `casemate-unpack` tells these three apart by
/// their first bytes, whatever the media type says; the diff_id decides whether the content is right.
pub(super) fn check_layer(media_type: &str) -> Result<(), Error> {
    let found = media_type.to_owned();
    match media_type {
        OCI_TAR | OCI_TAR_GZIP | OCI_TAR_ZSTD | DOCKER_TAR | DOCKER_TAR_GZIP | DOCKER_TAR_ZSTD => Ok(()),
        other if other.ends_with("+encrypted") => Err(Error::EncryptedLayer(found)),
        other if other.contains(".foreign.") || other.contains(".nondistributable.") => Err(Error::ForeignLayer(found)),
        _ => Err(Error::NotSupported { part: "layer", found }),
    }
}
