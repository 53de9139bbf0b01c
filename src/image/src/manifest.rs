//! Index and manifest: bytes in, descriptors out. Everything that the chain follows is checked here; the rest is dropped.

use super::flaw::Flaw;
use super::json;
use super::media;
use casemate_wire::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most layers: overlayfs takes 500 lower directories.
pub const MAX_LAYERS: usize = 500;
/// The most manifests of an index.
const MAX_MANIFESTS: usize = 1000;
/// Keys that decide what a document means.
const MEANINGFUL: [&str; 8] =
    ["schemaVersion", "mediaType", "manifests", "config", "layers", "fsLayers", "history", "artifactType"];
/// Keys that decide what a descriptor means.
const DESCRIPTOR_KEYS: [&str; 5] = ["mediaType", "digest", "size", "platform", "annotations"];

/// What leads from one document to the next: OCI image-spec, descriptor.md.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// What the target is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes, exact.
    pub size: u64,
}

/// One manifest of an index or of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub descriptor: Descriptor,
    /// For which machine.
    pub platform: Option<Platform>,
    /// The names that the writer gave it: `io.containerd.image.name`, `org.opencontainers.image.ref.name`.
    pub full_name: Option<String>,
    /// See `full_name`.
    pub ref_name: Option<String>,
}

/// For which machine an image is, in Go's words.
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

/// Reads an index that a descriptor of this media type led to.
pub fn parse_index(bytes: &[u8], media_type: &str) -> Result<Vec<Entry>, Flaw> {
    let document = read_document(bytes)?;
    media::check_document(media_type, own_media_type(&document)?)?;
    index_entries(document)
}

/// Reads the `index.json` of a layout: no descriptor leads to it, and it may leave its media type out.
pub fn parse_layout_index(bytes: &[u8]) -> Result<Vec<Entry>, Flaw> {
    let document = read_document(bytes)?;
    let own = own_media_type(&document)?.unwrap_or(media::OCI_INDEX);
    media::check_document(media::OCI_INDEX, Some(own))?;
    index_entries(document)
}

/// Reads a manifest that a descriptor of this media type led to.
pub fn parse_manifest(bytes: &[u8], media_type: &str) -> Result<Manifest, Flaw> {
    let document = read_document(bytes)?;
    media::check_document(media_type, own_media_type(&document)?)?;
    refuse_keys(&document, &["manifests", "fsLayers"])?;
    let raw: RawManifest = json::typed(document)?;
    require_version_2(raw.schema_version)?;
    raw.subject.map(descriptor).transpose()?;
    let config = descriptor(raw.config)?.descriptor;
    media::check_config(&config.media_type)?;
    match raw.artifact_type {
        Some(artifact) if artifact != config.media_type => return Err(Flaw::NotAnImage(artifact)),
        _ => {}
    }
    if raw.layers.is_empty() {
        return Err(Flaw::NoLayers);
    }
    if raw.layers.len() > MAX_LAYERS {
        return Err(Flaw::TooMany { what: "layers", limit: MAX_LAYERS });
    }
    let layers = raw.layers.into_iter().map(|layer| Ok(descriptor(layer)?.descriptor));
    let layers = layers.collect::<Result<Vec<_>, Flaw>>()?;
    layers.iter().try_for_each(|layer| media::check_layer(&layer.media_type))?;
    Ok(Manifest { config, layers })
}

fn read_document(bytes: &[u8]) -> Result<Value, Flaw> {
    let document = json::parse(bytes)?;
    json::refuse_lookalikes(&document, &MEANINGFUL)?;
    Ok(document)
}

fn own_media_type(document: &Value) -> Result<Option<&str>, Flaw> {
    match document.get("mediaType") {
        None => Ok(None),
        Some(Value::String(own)) => Ok(Some(own)),
        Some(_) => Err(Flaw::Shape("mediaType is not a string".to_owned())),
    }
}

fn refuse_keys(document: &Value, keys: &[&'static str]) -> Result<(), Flaw> {
    match keys.iter().find(|key| document.get(**key).is_some()) {
        Some(key) => Err(Flaw::Ambiguous(key)),
        None => Ok(()),
    }
}

const fn require_version_2(version: u64) -> Result<(), Flaw> {
    if version == 2 { Ok(()) } else { Err(Flaw::SchemaVersion(version)) }
}

fn index_entries(document: Value) -> Result<Vec<Entry>, Flaw> {
    refuse_keys(&document, &["layers", "config", "fsLayers"])?;
    let raw: RawIndex = json::typed(document)?;
    require_version_2(raw.schema_version)?;
    raw.subject.map(descriptor).transpose()?;
    if raw.manifests.len() > MAX_MANIFESTS {
        return Err(Flaw::TooMany { what: "manifests", limit: MAX_MANIFESTS });
    }
    raw.manifests.into_iter().map(descriptor).collect()
}

fn descriptor(value: Value) -> Result<Entry, Flaw> {
    json::refuse_lookalikes(&value, &DESCRIPTOR_KEYS)?;
    let raw: RawDescriptor = json::typed(value)?;
    media::check_grammar(&raw.media_type)?;
    let digest = raw.digest.parse().map_err(|_| Flaw::Digest(raw.digest.clone()))?;
    let Annotations { full_name, ref_name } = raw.annotations.unwrap_or_default();
    let descriptor = Descriptor { media_type: raw.media_type, digest, size: raw.size };
    Ok(Entry { descriptor, platform: raw.platform, full_name, ref_name })
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
