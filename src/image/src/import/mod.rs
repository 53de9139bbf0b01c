//! Import: an OCI layout directory, an OCI archive or a `docker save` archive becomes images of the store, or nothing does.
//!
//! The story: find the images that the input names; prove each while its blobs are copied in; unpack its layers through the
//! helper; write the records. A record is the commit point: until then everything is swept away.

mod archive;
mod docker;
mod input;
mod layout;

pub use input::{Input, Opened, Part};
pub(super) use layout::all as images_of_layout;

use super::blobs::Promise;
use super::error::Error;
use super::manifest::Descriptor;
use super::model::{Image, Limits};
use super::prove::{self, Proof};
use super::record::Record;
use super::store::Writer;
use casemate_wire::Digest;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

/// Told how far the work is.
pub trait Progress {
    /// A blob of so many bytes is copied now.
    fn blob(&mut self, name: &str, size: u64);
    /// So many of its bytes are done.
    fn at(&mut self, done: u64);
    /// A layer is unpacked now: its number from 1, of so many.
    fn layer(&mut self, number: usize, of: usize);
    /// Another process changes the store, and this one waits for it.
    fn waiting(&mut self) {}
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn blob(&mut self, _name: &str, _size: u64) {}
    fn at(&mut self, _done: u64) {}
    fn layer(&mut self, _number: usize, _of: usize) {}
}

/// An image that the input names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) pin: Descriptor,
    pub(super) names: Vec<String>,
}

/// An image whose blobs are in the store and proven, and which is not there yet.
#[derive(Debug)]
#[must_use]
pub struct Staged {
    /// For the unpacker.
    pub image: Image,
    /// What makes it appear.
    pub record: Record,
}

impl Staged {
    /// Makes it appear.
    pub fn commit(self, writer: &Writer<'_>) -> Result<Record, Error> {
        writer.commit(self.record.clone())?;
        Ok(self.record)
    }
}

/// Copies in and proves what the input names. On an error the caller sweeps.
pub fn stage(
    writer: &Writer<'_>,
    input: &Input,
    name: Option<&str>,
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<Vec<Staged>, Error> {
    let has = |name: &str| input.find(name).is_some();
    let mut images = if has("oci-layout") && has("index.json") {
        layout::find(writer.store(), input)?
    } else if has("manifest.json") {
        docker::find(writer, input, limits, progress)?
    } else {
        return Err(Error::UnknownFormat(input.path.clone()));
    };
    if let Some(name) = name {
        let [image] = images.as_mut_slice() else {
            let reason = format!("the input names {} images, one name does not do for them", images.len());
            return Err(Error::Name { given: name.to_owned(), reason });
        };
        image.names = vec![name.to_owned()];
    }
    let mut copied = BTreeSet::new();
    images.into_iter().map(|found| copy_in(writer, input, found, limits, &mut copied, progress)).collect()
}

fn copy_in(
    writer: &Writer<'_>,
    input: &Input,
    found: Found,
    limits: &Limits,
    copied: &mut BTreeSet<Digest>,
    progress: &mut dyn Progress,
) -> Result<Staged, Error> {
    let Found { pin, names } = found;
    let proof = prove::prove(&pin, writer.store().host(), &mut |document| {
        super::blobs::document_size(document)?;
        copy_blob(writer, input, document.digest, document.size, &mut Silent)?;
        writer.read_document(document)
    })?;
    for layer in &proof.image.layers {
        check_blob_size(&layer.blob.to_string(), layer.size, limits)?;
        if copied.insert(layer.blob) {
            copy_blob(writer, input, layer.blob, layer.size, progress)?;
        }
    }
    Ok(Staged { record: record(&pin, names, &proof), image: proof.image })
}

/// Copies a blob of a layout. One that the input lacks may be in the store already: another image's, or made from an old
/// `docker save` archive a moment ago.
fn copy_blob(
    writer: &Writer<'_>,
    input: &Input,
    digest: Digest,
    size: u64,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let object = digest.to_string();
    match input.blob(&digest) {
        Ok(part) => {
            progress.blob(&object, size);
            let promise = Promise::Exact { digest, size };
            writer.write_blob(&object, &mut part.reader(), promise, &mut |done| progress.at(done))?;
            Ok(())
        }
        Err(missing) => {
            if writer.has_blob(&digest, size)? {
                Ok(())
            } else {
                Err(missing)
            }
        }
    }
}

/// What is kept of a proven image.
pub(super) fn record(pin: &Descriptor, names: Vec<String>, proof: &Proof) -> Record {
    Record {
        pin: pin.digest,
        media_type: pin.media_type.clone(),
        size: pin.size,
        manifest: proof.image.manifest,
        names,
        imported: now(),
        blobs: proof.blobs(),
        held: false,
        layers: proof.image.chain(),
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(super) fn check_blob_size(object: &str, size: u64, limits: &Limits) -> Result<(), Error> {
    if size <= limits.blob {
        return Ok(());
    }
    Err(Error::TooLarge { object: object.to_owned(), limit: limits.blob, flag: "--max-blob" })
}
