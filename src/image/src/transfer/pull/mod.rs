//! Pull: the images of a file are downloaded from their registries into the store; nothing is downloaded twice.
//!
//! The steps for an image: its documents, verified from the pin on; its layers' blobs, several at a time; each layer unpacked as soon as
//! its blob and the layers below it are there; then its record, which is the commit point. Whatever ends a pull, the next one continues
//! from complete blobs and partial ones.

mod documents;
mod inspect;
mod interrupt;
mod progress;
mod rate;
mod workers;

use crate::error::Error;
use crate::registry::{Connection, ImageRequest};
use crate::store::{Limits, Record, Writer, layers, now, remove};
use casemate_client::{Client, Error as ClientError};
use documents::PendingImage;
use rate::Rate;
use rustix::fd::BorrowedFd;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use workers::{Download, Workers};

pub use inspect::{inspect, resolve_tag};
pub use interrupt::lock;
pub use progress::Progress;

/// How to pull.
#[derive(Debug, Clone, Copy)]
pub struct PullOptions<'a> {
    /// Limits of an image.
    pub limits: Limits,
    /// Bytes a second of all downloads together.
    pub rate: Option<u64>,
    /// Becomes readable when the caller asks to stop.
    pub stop: BorrowedFd<'a>,
}

/// A pulled image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image as the file names it.
    pub name: String,
    /// Its record.
    pub record: Record,
    /// Bytes that were downloaded for it; `None` where the store had it before.
    pub received: Option<u64>,
}

/// Downloads what is missing of these images. The connections end with it.
pub fn pull(
    client: &mut Client,
    writer: &Writer<'_>,
    mut connections: Vec<Connection>,
    images: &[ImageRequest],
    options: &PullOptions<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Pulled>, Error> {
    let mut pulled = Vec::new();
    let mut pending = Vec::new();
    let first = connections.first_mut().ok_or(Error::Interrupted)?;
    interrupt::run_interruptibly(first, options.stop, |connection| {
        for image in images {
            match existing(client, writer, image, options, progress).map_err(interrupted)? {
                Some(record) => pulled.push(Pulled { name: image.pin.to_string(), record, received: None }),
                None => pending.push(documents::download(writer, connection, image)?),
            }
        }
        Ok(())
    })?;
    let downloads = missing_blobs(writer, &pending, &options.limits)?;
    let rate = Rate::new(options.rate);
    let workers = Workers::new(writer.blobs(), downloads, &rate, progress);
    let new: Result<Vec<_>, _> = workers.run(connections, options.stop, |workers| {
        pending.into_iter().map(|image| finish(client, writer, image, options, workers, progress)).collect()
    });
    pulled.extend(new.map_err(interrupted)?);
    // All images of the file are complete: partial blobs belong to no pull that could resume them.
    writer.blobs().remove_partials()?;
    remove::sweep(client, writer)?;
    Ok(pulled)
}

/// Reports an interruption in the same way, whether this crate or the client has noticed it.
fn interrupted(error: Error) -> Error {
    match error {
        Error::Helper { error: ClientError::Interrupted, .. } => Error::Interrupted,
        error => error,
    }
}

/// The record of an image that is complete, its name included; `None` where something of it is missing or damaged.
fn existing(
    client: &mut Client,
    writer: &Writer<'_>,
    request: &ImageRequest,
    options: &PullOptions<'_>,
    progress: &dyn Progress,
) -> Result<Option<Record>, Error> {
    let store = writer.store();
    let Some(record) = store.record(&request.pin.digest)? else { return Ok(None) };
    let read_only = store.read_only_store_of(&record.pin)?.is_some();
    for (blob, size) in record.blobs.iter().filter(|_| !read_only) {
        if !writer.has_blob(blob, *size)? {
            return Ok(None);
        }
    }
    let image = match store.resolve(&request.pin.digest) {
        Ok(image) => image,
        Err(Error::Damaged { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    if read_only {
        // An image of a read-only store is used under any name. Layers that are not linked are unpacked from its blobs; only where
        // those are damaged, the image is downloaded.
        let count = image.layers.len();
        let unpacked = layers::unpack_each(client, writer, &image, &options.limits, &mut |number, _| {
            progress.layer(&request.repository_name(), number, count);
            Ok(())
        });
        return match unpacked {
            Ok(()) => Ok(Some(record)),
            Err(Error::Damaged { .. }) => Ok(None),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
    }
    if !record.names.contains(&name(request)) || !layers::is_complete(client, store, &image)? {
        return Ok(None);
    }
    // The image is about to be used: for `store gc` it is as new as one that was downloaded now.
    let record = Record { imported: now(), ..record };
    writer.replace(&record)?;
    Ok(Some(record))
}

/// The image's name in the store.
fn name(request: &ImageRequest) -> String {
    let pin = request.pin.to_string();
    pin.split_once('@').map_or(pin.clone(), |(name, _)| name.to_owned())
}

/// The missing blobs of layers, each once, in the order in which they are unpacked.
fn missing_blobs(writer: &Writer<'_>, pending: &[PendingImage<'_>], limits: &Limits) -> Result<Vec<Download>, Error> {
    let mut known = BTreeSet::new();
    let mut downloads = Vec::new();
    for image in pending {
        for layer in &image.resolved.image.layers {
            limits.check_blob(&layer.blob.to_string(), layer.size)?;
            if known.insert(layer.blob) && !writer.has_blob(&layer.blob, layer.size)? {
                downloads.push(Download { image: image.request.clone(), blob: layer.blob, size: layer.size });
            }
        }
    }
    Ok(downloads)
}

/// Unpacks an image's layers as their blobs arrive, and writes its record.
fn finish(
    client: &mut Client,
    writer: &Writer<'_>,
    pending: PendingImage<'_>,
    options: &PullOptions<'_>,
    workers: &Workers<'_>,
    progress: &dyn Progress,
) -> Result<Pulled, Error> {
    let PendingImage { request, pin, resolved, mut received } = pending;
    let image = &resolved.image;
    let count = image.layers.len();
    layers::unpack_each(client, writer, image, &options.limits, &mut |number, layer| {
        received += workers.wait_for(&layer.blob, options.stop)?;
        progress.layer(&request.repository_name(), number, count);
        Ok(())
    })?;
    // A layer that was unpacked before may have lost its blob, which is downloaded as well.
    for layer in &image.layers {
        received += workers.wait_for(&layer.blob, options.stop)?;
    }
    let record = Record::new(&pin, vec![name(request)], &resolved);
    writer.commit(record.clone())?;
    Ok(Pulled { name: request.pin.to_string(), record, received: Some(received) })
}
