//! The documents that casemate writes. The same values give the same bytes on every host, key order included.

use super::error::Error;
use super::image::ImageConfig;
use super::manifest::{Descriptor, Platform};
use super::media_types;
use super::time::rfc3339;
use casemate_wire::Digest;
use serde::Serialize;
use std::collections::BTreeMap;

/// The content of an `oci-layout` file.
pub(crate) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    config: RawDescriptor<'a>,
    layers: Vec<RawDescriptor<'a>>,
}

fn raw(descriptor: &Descriptor) -> RawDescriptor<'_> {
    RawDescriptor { media_type: &descriptor.media_type, digest: descriptor.digest.to_string(), size: descriptor.size }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RawIndex<'a> {
    schema_version: u32,
    media_type: &'a str,
    manifests: Vec<RawEntry<'a>>,
}

#[derive(Serialize)]
struct RawEntry<'a> {
    #[serde(flatten)]
    descriptor: RawDescriptor<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a Platform>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct RawConfig<'a> {
    created: String,
    #[serde(flatten)]
    platform: &'a Platform,
    config: RawDefaults<'a>,
    rootfs: RawRootfs<'a>,
}

#[derive(Serialize)]
struct RawRootfs<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    diff_ids: [String; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RawDefaults<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    env: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cmd: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
}

/// An OCI image manifest.
pub(crate) fn manifest(config: &Descriptor, layers: &[Descriptor]) -> Result<Vec<u8>, Error> {
    bytes(&RawManifest {
        schema_version: 2,
        media_type: media_types::OCI_MANIFEST,
        config: raw(config),
        layers: layers.iter().map(raw).collect(),
    })
}

/// The index of an image for several platforms.
pub(crate) fn index_of_platforms(manifests: &[(Platform, Descriptor)]) -> Result<Vec<u8>, Error> {
    let manifests = manifests.iter().map(|(platform, manifest)| RawEntry {
        descriptor: raw(manifest),
        platform: Some(platform),
        annotations: BTreeMap::new(),
    });
    entries(manifests.collect())
}

/// The `index.json` of a layout with one image. The whole name goes into containerd's annotation, which Docker and casemate read;
/// `org.opencontainers.image.ref.name` gets the tag, as umoci and skopeo expect.
pub(crate) fn layout_index(manifest: &Descriptor, name: &str) -> Result<Vec<u8>, Error> {
    let tag = name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/')).unwrap_or("latest");
    entries(vec![entry(manifest, name, tag)])
}

/// The `index.json` of a layout with several images, each under its whole name.
pub(crate) fn layout_index_of(images: &[(Descriptor, String)]) -> Result<Vec<u8>, Error> {
    entries(images.iter().map(|(image, name)| entry(image, name, name)).collect())
}

fn entries(manifests: Vec<RawEntry<'_>>) -> Result<Vec<u8>, Error> {
    bytes(&RawIndex { schema_version: 2, media_type: media_types::OCI_INDEX, manifests })
}

fn entry<'a>(image: &'a Descriptor, name: &'a str, reference: &'a str) -> RawEntry<'a> {
    let annotations =
        BTreeMap::from([("io.containerd.image.name", name), ("org.opencontainers.image.ref.name", reference)]);
    RawEntry { descriptor: raw(image), platform: None, annotations }
}

/// The config of an image with one layer, created at `time` (seconds since 1970).
pub(crate) fn config(
    platform: &Platform,
    time: u64,
    defaults: &ImageConfig,
    diff_id: Digest,
) -> Result<Vec<u8>, Error> {
    bytes(&RawConfig {
        created: rfc3339(time),
        platform,
        config: RawDefaults {
            user: defaults.user.as_deref(),
            env: &defaults.env,
            entrypoint: &defaults.entrypoint,
            cmd: &defaults.cmd,
            working_dir: defaults.working_dir.as_deref(),
            labels: &defaults.labels,
        },
        rootfs: RawRootfs { kind: "layers", diff_ids: [diff_id.to_string()] },
    })
}

fn bytes(document: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(document).map_err(|error| Error::Shape(error.to_string()))
}
