//! Pull: what a file names comes from its registries into the store, image by image, and nothing is asked for twice.
//!
//! The story of an image: its documents, proven from the pin on; its layers' blobs, several at a time; each layer unpacked as soon
//! as it and those below it are there; then its record, which is the commit point. Whatever ends it, what was proven stays for the
//! next pull: whole blobs in their place, others as partial ones.

mod blobs;
mod documents;
mod look;
mod rate;
mod stop;

use super::change;
use super::error::Error;
use super::import::{check_blob_size, now, record};
use super::manifest::Descriptor;
use super::model::Limits;
use super::prove::Proof;
use super::record::Record;
use super::store::Writer;
use super::unpack::{is_complete, unpack_each};
use crate::registry::{Lane, Wanted};
use blobs::{Crew, Task};
use casemate_client::{Client, Error as ClientError};
use casemate_wire::Digest;
use rate::Rate;
use rustix::fd::BorrowedFd;
use std::collections::BTreeSet;
use std::io::ErrorKind;

pub use look::{look, resolve};
pub use stop::lock;

/// Told how far the work is, from several threads.
pub trait Progress: Sync {
    /// A blob begins, of which so much is there.
    fn begin(&self, blob: &Digest, at: u64, size: u64);
    /// So much of it is there now.
    fn at(&self, blob: &Digest, at: u64);
    /// It is whole and proven, or has failed.
    fn end(&self, blob: &Digest, good: bool);
    /// A layer of an image is unpacked now: its number from 1, of so many.
    fn layer(&self, image: &str, number: usize, of: usize);
}

/// How to pull.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Bounds of an image.
    pub limits: Limits,
    /// Bytes a second of all downloads together.
    pub rate: Option<u64>,
    /// Readable when the caller is told to stop.
    pub stop: BorrowedFd<'a>,
}

/// What became of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// As the file names it.
    pub name: String,
    /// Its record.
    pub record: Record,
    /// Bytes that came from registries for it; `None` where it was there already.
    pub fetched: Option<u64>,
}

/// An image whose documents are there.
struct Begun<'a> {
    wanted: &'a Wanted,
    pin: Descriptor,
    proof: Proof,
    /// Bytes that came for it up to now.
    fetched: u64,
}

/// Brings what is missing. The lanes end with it.
pub fn pull(
    client: &mut Client,
    writer: &Writer<'_>,
    mut lanes: Vec<Lane>,
    wanted: &[Wanted],
    terms: &Terms<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Pulled>, Error> {
    let mut done = Vec::new();
    let mut begun = Vec::new();
    let first = lanes.first_mut().ok_or(Error::Interrupted)?;
    stop::unless_told(first, terms.stop, |lane| {
        for wanted in wanted {
            match there(client, writer, wanted, terms, progress).map_err(stopped)? {
                Some(record) => done.push(Pulled { name: wanted.pin.to_string(), record, fetched: None }),
                None => begun.push(documents::begin(writer, lane, wanted)?),
            }
        }
        Ok(())
    })?;
    let tasks = missing(writer, &begun, &terms.limits)?;
    let rate = Rate::new(terms.rate);
    let crew = Crew::new(writer.blobs(), tasks, &rate, progress);
    let pulled: Result<Vec<_>, _> = crew.work(lanes, terms.stop, |crew| {
        begun.into_iter().map(|image| finish(client, writer, image, terms, crew, progress)).collect()
    });
    done.extend(pulled.map_err(stopped)?);
    // Everything that the file names is there: what else lies about belongs to nobody.
    writer.blobs().forget_partials()?;
    change::sweep(client, writer)?;
    Ok(done)
}

/// The wish to stop is the same, wherever it was seen.
fn stopped(error: Error) -> Error {
    match error {
        Error::Helper { error: ClientError::Interrupted, .. } => Error::Interrupted,
        error => error,
    }
}

/// The record of an image that is whole, names included; `None` where something of it is missing or damaged.
fn there(
    client: &mut Client,
    writer: &Writer<'_>,
    wanted: &Wanted,
    terms: &Terms<'_>,
    progress: &dyn Progress,
) -> Result<Option<Record>, Error> {
    let store = writer.store();
    let Some(record) = store.record(&wanted.pin.digest)? else { return Ok(None) };
    // One of another store is used as it is, by whatever name it came there.
    let lent = store.lender(&record.pin)?.is_some();
    for (blob, size) in record.blobs.iter().filter(|_| !lent) {
        if !writer.has_blob(blob, *size)? {
            return Ok(None);
        }
    }
    let image = match store.resolve(&wanted.pin.digest) {
        Ok(image) => image,
        Err(Error::Damaged { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    if lent {
        // Its layers that the helper was not lent are unpacked from there; only what is damaged there has to come again.
        let count = image.layers.len();
        let unpacked = unpack_each(client, writer, &image, &terms.limits, &mut |number, _| {
            progress.layer(&wanted.place(), number, count);
            Ok(())
        });
        return match unpacked {
            Ok(()) => Ok(Some(record)),
            Err(Error::Damaged { .. }) => Ok(None),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
    }
    if !record.names.contains(&name(wanted)) || !is_complete(client, store, &image)? {
        return Ok(None);
    }
    // Somebody is about to use it: for `store gc` it is as new as one that has just come.
    let record = Record { imported: now(), ..record };
    writer.replace(&record)?;
    Ok(Some(record))
}

/// Under which name an image is kept.
fn name(wanted: &Wanted) -> String {
    let pin = wanted.pin.to_string();
    pin.split_once('@').map_or(pin.clone(), |(name, _)| name.to_owned())
}

/// The blobs of layers that are not there, each once, in the order in which they are unpacked.
fn missing(writer: &Writer<'_>, begun: &[Begun<'_>], limits: &Limits) -> Result<Vec<Task>, Error> {
    let mut known = BTreeSet::new();
    let mut tasks = Vec::new();
    for image in begun {
        for layer in &image.proof.image.layers {
            check_blob_size(&layer.blob.to_string(), layer.size, limits)?;
            if known.insert(layer.blob) && !writer.has_blob(&layer.blob, layer.size)? {
                tasks.push(Task { wanted: image.wanted.clone(), blob: layer.blob, size: layer.size });
            }
        }
    }
    Ok(tasks)
}

/// Unpacks an image's layers as they come, and makes it appear.
fn finish(
    client: &mut Client,
    writer: &Writer<'_>,
    image: Begun<'_>,
    terms: &Terms<'_>,
    crew: &Crew<'_>,
    progress: &dyn Progress,
) -> Result<Pulled, Error> {
    let Begun { wanted, pin, proof, mut fetched } = image;
    let image = &proof.image;
    let count = image.layers.len();
    unpack_each(client, writer, image, &terms.limits, &mut |number, layer| {
        fetched += crew.wait_for(&layer.blob, terms.stop)?;
        progress.layer(&wanted.place(), number, count);
        Ok(())
    })?;
    // A layer that was unpacked before may have lost its blob.
    for layer in &image.layers {
        fetched += crew.wait_for(&layer.blob, terms.stop)?;
    }
    let record = record(&pin, vec![name(wanted)], &proof);
    writer.commit(record.clone())?;
    Ok(Pulled { name: wanted.pin.to_string(), record, fetched: Some(fetched) })
}
