//! The documents that casemate itself writes: the same values give the same bytes on every machine, key order included.

use super::error::Error;
use super::flaw::Flaw;
use super::manifest::{Descriptor, Platform};
use super::media;
use super::model::ImageConfig;
use casemate_wire::Digest;
use serde::Serialize;
use std::collections::BTreeMap;

/// The `oci-layout` file.
pub(super) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

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
pub(super) fn manifest(config: &Descriptor, layers: &[Descriptor]) -> Result<Vec<u8>, Error> {
    bytes(&RawManifest {
        schema_version: 2,
        media_type: media::OCI_MANIFEST,
        config: raw(config),
        layers: layers.iter().map(raw).collect(),
    })
}

/// An image for several machines: one manifest each.
pub(super) fn platforms(manifests: &[(Platform, Descriptor)]) -> Result<Vec<u8>, Error> {
    let entries_of = manifests.iter().map(|(platform, manifest)| RawEntry {
        descriptor: raw(manifest),
        platform: Some(platform),
        annotations: BTreeMap::new(),
    });
    entries(entries_of.collect())
}

/// The index of a layout with one image. The name is given twice: whole for containerd, Docker and casemate, and its tag
/// for what reads `org.opencontainers.image.ref.name` as one (umoci, skopeo).
pub(super) fn index(manifest: &Descriptor, name: &str) -> Result<Vec<u8>, Error> {
    let tag = name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/')).unwrap_or("latest");
    entries(vec![entry(manifest, name, tag)])
}

/// The index of a layout with several images, each under its whole name.
pub(super) fn index_of(images: &[(Descriptor, String)]) -> Result<Vec<u8>, Error> {
    entries(images.iter().map(|(image, name)| entry(image, name, name)).collect())
}

fn entries(manifests: Vec<RawEntry<'_>>) -> Result<Vec<u8>, Error> {
    bytes(&RawIndex { schema_version: 2, media_type: media::OCI_INDEX, manifests })
}

fn entry<'a>(image: &'a Descriptor, name: &'a str, reference: &'a str) -> RawEntry<'a> {
    let annotations =
        BTreeMap::from([("io.containerd.image.name", name), ("org.opencontainers.image.ref.name", reference)]);
    RawEntry { descriptor: raw(image), platform: None, annotations }
}

/// The config of an image with one layer.
pub(super) fn config(
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
    serde_json::to_vec(document).map_err(|error| Error::document("a new document")(Flaw::Shape(error.to_string())))
}

/// Seconds since 1970 as `1970-01-01T00:00:00Z`. Civil date from days, after the algorithm that puts leap days at the end
/// of a year that starts in March.
pub fn rfc3339(seconds: u64) -> String {
    // Four digits of year end here; what is later is no time of a file.
    let seconds = seconds.min(253_402_300_799);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_date_does() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (68_169_599, "1972-02-28T23:59:59Z"),
            (68_169_600, "1972-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
