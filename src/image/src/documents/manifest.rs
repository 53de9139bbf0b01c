//! Index and manifest: bytes in, descriptors out. Fields that lead to other documents are checked; all others are dropped.

use super::error::{Error, InvalidDocument};
use super::json;
use super::media_types;
use casemate_wire::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most layers: overlayfs takes 500 lower directories.
pub const MAX_LAYERS: usize = 500;
/// The most manifests of an index.
pub(super) const MAX_MANIFESTS: usize = 1000;
/// Keys that decide what a document means.
const MEANINGFUL: [&str; 8] =
    ["schemaVersion", "mediaType", "manifests", "config", "layers", "fsLayers", "history", "artifactType"];
/// Keys that decide what a descriptor means.
const DESCRIPTOR_KEYS: [&str; 5] = ["mediaType", "digest", "size", "platform", "annotations"];

/// A reference to a blob: OCI image-spec, descriptor.md.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The type of the blob's content.
    pub media_type: String,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes, exact.
    pub size: u64,
}

impl Descriptor {
    /// The blob's size, where it is one that a document may have.
    pub(crate) fn document_size(&self) -> Result<usize, InvalidDocument> {
        match usize::try_from(self.size) {
            Ok(size) if size <= json::MAX_DOCUMENT => Ok(size),
            _ => Err(Error::TooLong(json::MAX_DOCUMENT).in_document(self.digest)),
        }
    }
}

/// One entry of an index or of a layout's `index.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The manifest or nested index.
    pub descriptor: Descriptor,
    /// The platform that the image is for.
    pub platform: Option<Platform>,
    /// The annotation `io.containerd.image.name`: a whole name.
    pub full_name: Option<String>,
    /// The annotation `org.opencontainers.image.ref.name`: mostly a tag.
    pub ref_name: Option<String>,
}

/// The platform that an image is for, in the words of Go (GOOS, GOARCH).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, `arm`, `riscv64`, …
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// An image manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The image config.
    pub config: Descriptor,
    /// Bottom first; 1 to [`MAX_LAYERS`].
    pub layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawIndex {
    schema_version: u64,
    manifests: Vec<Value>,
    #[serde(default)]
    subject: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    schema_version: u64,
    config: Value,
    layers: Vec<Value>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    subject: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<Annotations>,
}

#[derive(Deserialize, Default)]
struct Annotations {
    #[serde(default, rename = "io.containerd.image.name")]
    full_name: Option<String>,
    #[serde(default, rename = "org.opencontainers.image.ref.name")]
    ref_name: Option<String>,
}

/// Parses an index whose descriptor has this media type.
pub fn parse_index(bytes: &[u8], media_type: &str) -> Result<Vec<Entry>, Error> {
    let document = read_document(bytes)?;
    media_types::check_document(media_type, own_media_type(&document)?)?;
    index_entries(document)
}

/// Parses the `index.json` of a layout. No descriptor refers to it, and its media type is optional.
pub fn parse_layout_index(bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    let document = read_document(bytes)?;
    let own = own_media_type(&document)?.unwrap_or(media_types::OCI_INDEX);
    media_types::check_document(media_types::OCI_INDEX, Some(own))?;
    index_entries(document)
}

/// Parses a manifest whose descriptor has this media type.
pub fn parse_manifest(bytes: &[u8], media_type: &str) -> Result<Manifest, Error> {
    let document = read_document(bytes)?;
    media_types::check_document(media_type, own_media_type(&document)?)?;
    refuse_keys(&document, &["manifests", "fsLayers"])?;
    let raw: RawManifest = json::typed(document)?;
    require_version_2(raw.schema_version)?;
    raw.subject.map(descriptor).transpose()?;
    let config = descriptor(raw.config)?.descriptor;
    media_types::check_config(&config.media_type)?;
    match raw.artifact_type {
        Some(artifact) if artifact != config.media_type => return Err(Error::NotAnImage(artifact)),
        _ => {}
    }
    if raw.layers.is_empty() {
        return Err(Error::NoLayers);
    }
    if raw.layers.len() > MAX_LAYERS {
        return Err(Error::TooMany { what: "layers", limit: MAX_LAYERS });
    }
    let layers = raw.layers.into_iter().map(|layer| Ok(descriptor(layer)?.descriptor));
    let layers = layers.collect::<Result<Vec<_>, Error>>()?;
    layers.iter().try_for_each(|layer| media_types::check_layer(&layer.media_type))?;
    Ok(Manifest { config, layers })
}

fn read_document(bytes: &[u8]) -> Result<Value, Error> {
    let document = json::parse(bytes)?;
    json::refuse_lookalikes(&document, &MEANINGFUL)?;
    Ok(document)
}

fn own_media_type(document: &Value) -> Result<Option<&str>, Error> {
    match document.get("mediaType") {
        None => Ok(None),
        Some(Value::String(own)) => Ok(Some(own)),
        Some(_) => Err(Error::Shape("mediaType is not a string".to_owned())),
    }
}

fn refuse_keys(document: &Value, keys: &[&'static str]) -> Result<(), Error> {
    match keys.iter().find(|key| document.get(**key).is_some()) {
        Some(key) => Err(Error::Ambiguous(key)),
        None => Ok(()),
    }
}

const fn require_version_2(version: u64) -> Result<(), Error> {
    if version == 2 { Ok(()) } else { Err(Error::SchemaVersion(version)) }
}

fn index_entries(document: Value) -> Result<Vec<Entry>, Error> {
    refuse_keys(&document, &["layers", "config", "fsLayers"])?;
    let raw: RawIndex = json::typed(document)?;
    require_version_2(raw.schema_version)?;
    raw.subject.map(descriptor).transpose()?;
    if raw.manifests.len() > MAX_MANIFESTS {
        return Err(Error::TooMany { what: "manifests", limit: MAX_MANIFESTS });
    }
    raw.manifests.into_iter().map(descriptor).collect()
}

fn descriptor(value: Value) -> Result<Entry, Error> {
    json::refuse_lookalikes(&value, &DESCRIPTOR_KEYS)?;
    let raw: RawDescriptor = json::typed(value)?;
    media_types::check_grammar(&raw.media_type)?;
    let digest = raw.digest.parse().map_err(|_| Error::Digest(raw.digest.clone()))?;
    let Annotations { full_name, ref_name } = raw.annotations.unwrap_or_default();
    let descriptor = Descriptor { media_type: raw.media_type, digest, size: raw.size };
    Ok(Entry { descriptor, platform: raw.platform, full_name, ref_name })
}
