//! `<state>/images/<hex of the pin>.json`: one image of the store. Its appearance is the commit point of an import.

use crate::documents::{self, Descriptor, ResolvedImage};
use crate::error::Error;
use crate::names;
use casemate_wire::Digest;
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// One image of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The digest that a file pins: of the manifest, or of the index that has it.
    pub pin: Digest,
    /// The media type of the pinned document.
    pub media_type: String,
    /// The size of the pinned document in bytes.
    pub size: u64,
    /// The manifest for this host.
    pub manifest: Digest,
    /// The names it was imported under, sorted. For display.
    pub names: Vec<String>,
    /// The last import, in seconds since 1970.
    pub imported: u64,
    /// Kept by `image pin`, whether a file names the image or not.
    pub held: bool,
    /// Every blob of the image, documents included, with its size.
    pub blobs: Vec<(Digest, u64)>,
    /// ChainIDs of its layers, bottom first.
    pub layers: Vec<Digest>,
}

impl Record {
    /// A record of an image that was resolved now.
    pub(crate) fn new(pin: &Descriptor, names: Vec<String>, resolved: &ResolvedImage) -> Self {
        Self {
            pin: pin.digest,
            media_type: pin.media_type.clone(),
            size: pin.size,
            manifest: resolved.image.manifest,
            names,
            imported: now(),
            blobs: resolved.blobs(),
            held: false,
            layers: resolved.image.chain(),
        }
    }

    /// The descriptor of the pinned document.
    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor { media_type: self.media_type.clone(), digest: self.pin, size: self.size }
    }

    /// For display: its first name with its pin.
    pub fn display_name(&self) -> String {
        self.names.first().map_or_else(|| self.pin.to_string(), |own| names::pinned(own, &self.pin))
    }

    /// The size of all its blobs in bytes, each counted once.
    pub fn bytes(&self) -> u64 {
        self.blobs.iter().map(|(_, size)| size).sum()
    }
}

/// The record as JSON; digests are text.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    version: u32,
    pin: String,
    media_type: String,
    size: u64,
    manifest: String,
    names: Vec<String>,
    imported: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    held: bool,
    blobs: Vec<(String, u64)>,
    layers: Vec<String>,
}

const VERSION: u32 = 1;

/// Encodes the record's file.
pub(super) fn encode(record: &Record) -> Result<Vec<u8>, Error> {
    let text = |digests: &[Digest]| digests.iter().map(Digest::to_string).collect();
    let raw = Raw {
        version: VERSION,
        pin: record.pin.to_string(),
        media_type: record.media_type.clone(),
        size: record.size,
        manifest: record.manifest.to_string(),
        names: record.names.clone(),
        imported: record.imported,
        held: record.held,
        blobs: record.blobs.iter().map(|(digest, size)| (digest.to_string(), *size)).collect(),
        layers: text(&record.layers),
    };
    let shape = |error: serde_json::Error| Error::document(record.pin)(documents::Error::Shape(error.to_string()));
    let mut bytes = serde_json::to_vec_pretty(&raw).map_err(shape)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Decodes the record's file; it has to be the record of this pin.
pub(super) fn decode(pin: &Digest, bytes: &[u8]) -> Result<Record, documents::Error> {
    let raw: Raw = documents::typed(documents::parse_json(bytes)?)?;
    let digest = |text: &String| text.parse::<Digest>().map_err(|_| documents::Error::Digest(text.clone()));
    if raw.version != VERSION {
        return Err(documents::Error::Shape(format!("version {} of a record is not supported", raw.version)));
    }
    let record = Record {
        pin: digest(&raw.pin)?,
        media_type: raw.media_type,
        size: raw.size,
        manifest: digest(&raw.manifest)?,
        names: raw.names,
        imported: raw.imported,
        held: raw.held,
        blobs: raw
            .blobs
            .iter()
            .map(|(text, size)| Ok((digest(text)?, *size)))
            .collect::<Result<_, documents::Error>>()?,
        layers: raw.layers.iter().map(digest).collect::<Result<_, documents::Error>>()?,
    };
    if record.pin == *pin {
        Ok(record)
    } else {
        Err(documents::Error::Text { what: "pin", reason: "is not the one in the file's name", found: raw.pin })
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_round_trips_and_belongs_to_its_file_name() {
        let digest = |byte| Digest::from_bytes([byte; 32]);
        let record = Record {
            pin: digest(1),
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            size: 7,
            manifest: digest(1),
            names: vec!["docker.io/library/a:1".to_owned()],
            imported: 1_800_000_000,
            held: true,
            blobs: vec![(digest(1), 7), (digest(2), 3)],
            layers: vec![digest(3)],
        };
        let bytes = encode(&record).unwrap();
        assert_eq!(decode(&digest(1), &bytes), Ok(record));
        assert!(decode(&digest(2), &bytes).is_err());
        assert!(decode(&digest(1), &bytes[..bytes.len() - 3]).is_err());
    }
}
