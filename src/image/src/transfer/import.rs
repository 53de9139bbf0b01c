//! Import: all images of an OCI layout directory, an OCI archive or a `docker save` archive become images of the store, or none.
//!
//! The steps: find the images that the input names; copy and verify their blobs; unpack their layers through the helper; write their
//! records. A record is the commit point: what was copied before is removed after an error.

use super::docker;
use crate::documents::{Host, Image, resolve};
use crate::error::Error;
use crate::layout::{Input, NamedImage, images_for};
use crate::store::{Expected, Limits, Progress, Record, Silent, Writer, layers, remove};
use casemate_client::Client;
use casemate_wire::Digest;
use std::collections::BTreeSet;

/// What to import.
#[derive(Debug, Clone, Copy)]
pub enum Selection<'a> {
    /// All images of the input, under the names that it gives.
    All,
    /// The only image of the input, under this name.
    Named(&'a str),
    /// All images of the input, which has to have these pins.
    With(&'a [Digest]),
}

/// Imports all images of an input, or none.
pub fn import(
    client: &mut Client,
    writer: &Writer<'_>,
    input: &Input,
    selection: Selection<'_>,
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<Vec<Record>, Error> {
    // Removes what a crash has left, so that nothing of it becomes part of an image.
    remove::sweep(client, writer)?;
    let imported = stage(writer, input, selection, limits, progress).and_then(|staged| {
        for image in &staged {
            layers::unpack_all(client, writer, &image.image, limits, progress)?;
        }
        commit(writer, staged)
    });
    if imported.is_err() {
        // The error of the import is reported. What cannot be removed now is removed before the next change.
        let _ = remove::sweep(client, writer);
    }
    imported
}

/// An image whose blobs are in the store, verified, and whose record is not written yet.
#[derive(Debug)]
struct StagedImage {
    image: Image,
    record: Record,
}

fn commit(writer: &Writer<'_>, staged: Vec<StagedImage>) -> Result<Vec<Record>, Error> {
    let mut new = Vec::new();
    let mut records = Vec::new();
    for image in staged {
        let pin = image.record.pin;
        let known = writer.store().own_record(&pin)?.is_some();
        match writer.commit(image.record.clone()) {
            Ok(()) => records.push(image.record),
            Err(error) => {
                let _ = new.iter().try_for_each(|pin| writer.remove(pin));
                return Err(error);
            }
        }
        if !known {
            new.push(pin);
        }
    }
    Ok(records)
}

/// Copies and verifies the images of the input.
fn stage(
    writer: &Writer<'_>,
    input: &Input,
    selection: Selection<'_>,
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<Vec<StagedImage>, Error> {
    let has = |name: &str| input.find(name).is_some();
    let mut images = if has("oci-layout") && has("index.json") {
        images_for(writer.store().host(), input)?
    } else if has("manifest.json") {
        docker::images(writer, input, limits, progress)?
    } else {
        return Err(Error::UnknownFormat(input.path.clone()));
    };
    match selection {
        Selection::All => {}
        Selection::Named(name) => {
            let [image] = images.as_mut_slice() else {
                let reason = format!("the input has {} images, and a name can be given to one only", images.len());
                return Err(Error::Name { name: name.to_owned(), reason });
            };
            image.names = vec![name.to_owned()];
        }
        Selection::With(pins) => {
            let has = |pin: &&Digest| images.iter().any(|image| image.pin.digest == **pin);
            if let Some(missing) = pins.iter().find(|pin| !has(pin)) {
                let missing = format!("the image {missing}");
                return Err(Error::Incomplete { input: input.path.clone(), missing });
            }
        }
    }
    let mut copied = BTreeSet::new();
    images.into_iter().map(|image| copy_in(writer, input, image, limits, &mut copied, progress)).collect()
}

fn copy_in(
    writer: &Writer<'_>,
    input: &Input,
    image: NamedImage,
    limits: &Limits,
    copied: &mut BTreeSet<Digest>,
    progress: &mut dyn Progress,
) -> Result<StagedImage, Error> {
    let NamedImage { pin, names } = image;
    let host: Host = writer.store().host();
    let resolved = resolve(&pin, host, &mut |document| {
        document.document_size()?;
        copy_blob(writer, input, document.digest, document.size, &mut Silent)?;
        writer.read_document(document)
    })?;
    for layer in &resolved.image.layers {
        limits.check_blob(&layer.blob.to_string(), layer.size)?;
        if copied.insert(layer.blob) {
            copy_blob(writer, input, layer.blob, layer.size, progress)?;
        }
    }
    Ok(StagedImage { record: Record::new(&pin, names, &resolved), image: resolved.image })
}

/// Copies a blob of a layout. One that the input lacks may be in the store already: from another image, or written a moment ago from a
/// `docker save` archive.
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
            let expected = Expected::Exact { digest, size };
            writer.write_blob(&object, &mut part.reader(), expected, &mut |done| progress.at(done))?;
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
