//! `<state>/images/<hex of the pin>.json`: one image of the store. Its appearance is the commit point of an import.

use super::error::Error;
use super::flaw::Flaw;
use super::json;
use super::manifest::Descriptor;
use super::name;
use casemate_wire::Digest;
use serde::{Deserialize, Serialize};

/// One image of the store, as the manager wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What a file pins: the digest of the manifest, or of the index that led to it.
    pub pin: Digest,
    /// The media type of the document that the pin names.
    pub media_type: String,
    /// Bytes of that document.
    pub size: u64,
    /// The manifest for this host.
    pub manifest: Digest,
    /// Names of its imports, sorted; for people.
    pub names: Vec<String>,
    /// Seconds since 1970 of the last import.
    pub imported: u64,
    /// Somebody has said that it stays, whether a file names it or not.
    pub held: bool,
    /// Every blob that the image needs, documents included, with its bytes.
    pub blobs: Vec<(Digest, u64)>,
    /// ChainIDs of its layers, bottom first.
    pub layers: Vec<Digest>,
}

impl Record {
    /// The first step of the proof.
    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor { media_type: self.media_type.clone(), digest: self.pin, size: self.size }
    }

    /// For people: its first name, with its pin.
    pub fn shown(&self) -> String {
        self.names.first().map_or_else(|| self.pin.to_string(), |own| name::pinned(own, &self.pin))
    }

    /// Bytes of all its blobs, each counted once.
    pub fn bytes(&self) -> u64 {
        self.blobs.iter().map(|(_, size)| size).sum()
    }
}

/// A digest in JSON is its text.
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

/// The file's bytes.
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
    let shape = |error: serde_json::Error| Error::document(record.pin)(Flaw::Shape(error.to_string()));
    let mut bytes = serde_json::to_vec_pretty(&raw).map_err(shape)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads the file of this pin.
pub(super) fn decode(pin: &Digest, bytes: &[u8]) -> Result<Record, Flaw> {
    let raw: Raw = json::typed(json::parse(bytes)?)?;
    let digest = |text: &String| text.parse::<Digest>().map_err(|_| Flaw::Digest(text.clone()));
    if raw.version != VERSION {
        return Err(Flaw::Shape(format!("version {} of a record is not read", raw.version)));
    }
    let record = Record {
        pin: digest(&raw.pin)?,
        media_type: raw.media_type,
        size: raw.size,
        manifest: digest(&raw.manifest)?,
        names: raw.names,
        imported: raw.imported,
        held: raw.held,
        blobs: raw.blobs.iter().map(|(text, size)| Ok((digest(text)?, *size))).collect::<Result<_, Flaw>>()?,
        layers: raw.layers.iter().map(digest).collect::<Result<_, Flaw>>()?,
    };
    if record.pin == *pin {
        Ok(record)
    } else {
        Err(Flaw::Text { what: "pin", reason: "is not the one in the file's name", found: raw.pin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_belongs_to_its_name() {
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
