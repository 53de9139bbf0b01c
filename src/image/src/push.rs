//! Push: an image goes to a registry with the digests that it has here, every blob hashed on its way; what the registry has is not
//! sent.
//!
//! From the store goes the manifest for this machine: an index names images for others, which the store does not have. From an OCI
//! layout goes what it has, whole indexes included.

use super::error::Error;
use super::flaw::Flaw;
use super::import::{Input, images_of_layout};
use super::manifest::{self, Descriptor};
use super::media::{self, Kind};
use super::select::choose;
use super::store::Store;
use crate::registry::{Lane, LaneError, Put, Sent, Wanted};
use casemate_wire::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// Where it goes, and who is told of what is being sent: its digest, its bytes.
pub struct Target<'a> {
    /// The way.
    pub lane: &'a mut Lane,
    /// Repository and tag.
    pub to: &'a Wanted,
    /// Told.
    pub told: &'a dyn Fn(&Digest, u64),
}

/// Where it comes from.
enum Source<'a> {
    Store(&'a Store),
    Layout(&'a Input),
}

/// Sends an image of the store. Gives the digest that it has there.
pub fn from_store(store: &Store, pin: &Digest, target: &mut Target<'_>) -> Result<Digest, Error> {
    let proof = store.proof(pin)?;
    let manifest = proof.documents.iter().find(|document| document.digest == proof.image.manifest);
    send(&Source::Store(store), manifest.ok_or(Error::NotImported(*pin))?, target)
}

/// Sends the image of an OCI layout that `text` names, for all machines that it is for.
pub fn from_layout(input: &Input, text: &str, target: &mut Target<'_>) -> Result<Digest, Error> {
    let images = images_of_layout(input)?;
    let none = format!("no image of {} has this name or digest", input.path.display());
    let image = choose(&images, text, |image| (&image.pin.digest, image.names.as_slice()), &none)?;
    send(&Source::Layout(input), &image.pin, target)
}

/// What is named goes before what names it, and the tag comes last: whoever pulls meanwhile finds the old image or the new one.
fn send(source: &Source<'_>, top: &Descriptor, target: &mut Target<'_>) -> Result<Digest, Error> {
    let tag = target.to.pin.tag.clone();
    match media::kind(&top.media_type) {
        Some(Kind::Manifest) => image(source, top, tag, target)?,
        Some(Kind::Index) => {
            let bytes = source.document(top)?;
            let flawed = |flaw| Error::document(top.digest)(flaw);
            for entry in manifest::parse_index(&bytes, &top.media_type).map_err(flawed)? {
                match media::kind(&entry.descriptor.media_type) {
                    Some(Kind::Manifest) => image(source, &entry.descriptor, None, target)?,
                    Some(Kind::Index) => return Err(flawed(Flaw::NestedIndex)),
                    None => return Err(flawed(Flaw::NotAnImage(entry.descriptor.media_type))),
                }
            }
            document(top, &bytes, tag, target)?;
        }
        None => return Err(Error::document(top.digest)(Flaw::NotAnImage(top.media_type.clone()))),
    }
    Ok(top.digest)
}

fn image(source: &Source<'_>, top: &Descriptor, tag: Option<String>, target: &mut Target<'_>) -> Result<(), Error> {
    let bytes = source.document(top)?;
    let manifest = manifest::parse_manifest(&bytes, &top.media_type).map_err(Error::document(top.digest))?;
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        let mut reader = Hashed { inner: source.blob(blob)?, hash: Sha256::new(), done: 0 };
        put(Sent::Blob(blob.digest), blob, &mut reader, target)?;
        let Hashed { hash, done, .. } = reader;
        let found = Digest::from_bytes(hash.finalize().into());
        // Of what a registry has already, only the begin was read.
        if done >= blob.size && found != blob.digest {
            return Err(source.damaged(blob, blob.digest.to_string(), found.to_string()));
        }
    }
    document(top, &bytes, tag, target)
}

fn document(what: &Descriptor, bytes: &[u8], tag: Option<String>, target: &mut Target<'_>) -> Result<(), Error> {
    let sent = Sent::Manifest { digest: what.digest, tag, media_type: what.media_type.clone() };
    put(sent, what, &mut &*bytes, target)
}

fn put(what: Sent, it: &Descriptor, reader: &mut dyn Read, target: &mut Target<'_>) -> Result<(), Error> {
    let (registry, repository) = (target.to.registry, target.to.repository.clone());
    (target.told)(&it.digest, it.size);
    let failed = |error: LaneError| Error::Fetch { place: target.to.place(), object: it.digest.to_string(), error };
    target.lane.put(Put { registry, repository, size: it.size, what }, reader).map_err(failed)
}

impl Source<'_> {
    /// A document, proven.
    fn document(&self, it: &Descriptor) -> Result<Vec<u8>, Error> {
        match self {
            Self::Store(store) => store.read_document(it),
            Self::Layout(input) => {
                let mut bytes = Vec::with_capacity(super::blobs::document_size(it)?);
                let read = input.blob(&it.digest)?.reader().take(it.size.saturating_add(1)).read_to_end(&mut bytes);
                read.map_err(Error::io("read", &input.path))?;
                let found = Digest::from_bytes(Sha256::digest(&bytes).into());
                if found != it.digest {
                    return Err(self.damaged(it, it.digest.to_string(), found.to_string()));
                }
                self.expect_size(it, bytes.len() as u64)?;
                Ok(bytes)
            }
        }
    }

    /// A blob of the promised size; whether its bytes are the promised ones is seen on their way.
    fn blob(&self, it: &Descriptor) -> Result<Box<dyn Read>, Error> {
        match self {
            Self::Store(store) => {
                let blob = store.open_blob(&it.digest)?;
                self.expect_size(it, blob.metadata().map_err(Error::io("stat", it.digest.to_string()))?.len())?;
                Ok(Box::new(blob))
            }
            Self::Layout(input) => {
                let blob = input.blob(&it.digest)?;
                self.expect_size(it, blob.size())?;
                Ok(Box::new(blob.reader()))
            }
        }
    }

    /// A registry is told the size before the first byte.
    fn expect_size(&self, it: &Descriptor, found: u64) -> Result<(), Error> {
        if found == it.size {
            return Ok(());
        }
        Err(self.damaged(it, format!("{} bytes", it.size), found.to_string()))
    }

    fn damaged(&self, it: &Descriptor, expected: String, found: String) -> Error {
        match self {
            Self::Store(_) => Error::Damaged { blob: it.digest, reason: super::blobs::CHANGED.to_owned() },
            Self::Layout(input) => {
                let object = format!("blob {} of {}", it.digest, input.path.display());
                Error::Mismatch { object, expected, found }
            }
        }
    }
}

/// Bytes on their way.
struct Hashed {
    inner: Box<dyn Read>,
    hash: Sha256,
    done: u64,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        self.done += count as u64;
        Ok(count)
    }
}
