//! Push: an image is uploaded to a registry with the same digests. Every blob is verified while it is read; blobs that the registry has
//! are not uploaded.
//!
//! Of an index the store has the image for this host only, so its manifest is pushed. From an OCI layout an index is pushed whole.

use crate::documents::manifest::{self, Descriptor};
use crate::documents::{self, Kind};
use crate::error::Error;
use crate::layout::{Input, all_images};
use crate::registry::connection;
use crate::registry::{Connection, ImageRequest, PushObject, Put};
use crate::store::{CHANGED, Store, choose};
use casemate_wire::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// Where to push to.
pub struct Target<'a> {
    /// The connection to casemate-fetch.
    pub connection: &'a mut Connection,
    /// Repository and tag.
    pub to: &'a ImageRequest,
    /// Called for each blob and document before it is uploaded, with its size.
    pub progress: &'a dyn Fn(&Digest, u64),
}

/// Where the image comes from.
enum Source<'a> {
    Store(&'a Store),
    Layout(&'a Input),
}

/// Pushes an image of the store. Returns the digest of what was pushed.
pub fn from_store(store: &Store, pin: &Digest, target: &mut Target<'_>) -> Result<Digest, Error> {
    let resolved = store.resolve_documents(pin)?;
    let manifest = resolved.documents.iter().find(|document| document.digest == resolved.image.manifest);
    push(&Source::Store(store), manifest.ok_or(Error::NotImported(*pin))?, target)
}

/// Pushes the image of an OCI layout that `text` selects, for all its platforms.
pub fn from_layout(input: &Input, text: &str, target: &mut Target<'_>) -> Result<Digest, Error> {
    let images = all_images(input)?;
    let none = format!("no image of {} has this name or digest", input.path.display());
    let image = choose(&images, text, |image| (&image.pin.digest, image.names.as_slice()), &none)?;
    push(&Source::Layout(input), &image.pin, target)
}

/// Uploads blobs before the documents that refer to them, and the tag last: a pull during the push gets the old image or the new one.
fn push(source: &Source<'_>, top: &Descriptor, target: &mut Target<'_>) -> Result<Digest, Error> {
    let tag = target.to.pin.tag.clone();
    match documents::kind(&top.media_type) {
        Some(Kind::Manifest) => image(source, top, tag, target)?,
        Some(Kind::Index) => {
            let bytes = source.document(top)?;
            let invalid = |error| Error::document(top.digest)(error);
            for entry in manifest::parse_index(&bytes, &top.media_type).map_err(invalid)? {
                match documents::kind(&entry.descriptor.media_type) {
                    Some(Kind::Manifest) => image(source, &entry.descriptor, None, target)?,
                    Some(Kind::Index) => return Err(invalid(documents::Error::NestedIndex)),
                    None => return Err(invalid(documents::Error::NotAnImage(entry.descriptor.media_type))),
                }
            }
            document(top, &bytes, tag, target)?;
        }
        None => return Err(Error::document(top.digest)(documents::Error::NotAnImage(top.media_type.clone()))),
    }
    Ok(top.digest)
}

fn image(source: &Source<'_>, top: &Descriptor, tag: Option<String>, target: &mut Target<'_>) -> Result<(), Error> {
    let bytes = source.document(top)?;
    let manifest = manifest::parse_manifest(&bytes, &top.media_type).map_err(Error::document(top.digest))?;
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        let mut reader = HashedReader { inner: source.blob(blob)?, hash: Sha256::new(), done: 0 };
        put(PushObject::Blob(blob.digest), blob, &mut reader, target)?;
        let HashedReader { hash, done, .. } = reader;
        let found = Digest::from_bytes(hash.finalize().into());
        // Of a blob that the registry has, only the beginning was read.
        if done >= blob.size && found != blob.digest {
            return Err(source.damaged(blob, blob.digest.to_string(), found.to_string()));
        }
    }
    document(top, &bytes, tag, target)
}

fn document(what: &Descriptor, bytes: &[u8], tag: Option<String>, target: &mut Target<'_>) -> Result<(), Error> {
    let object = PushObject::Manifest { digest: what.digest, tag, media_type: what.media_type.clone() };
    put(object, what, &mut &*bytes, target)
}

fn put(object: PushObject, blob: &Descriptor, reader: &mut dyn Read, target: &mut Target<'_>) -> Result<(), Error> {
    let registry = target.to.registry;
    let repository = target.to.repository.clone();
    (target.progress)(&blob.digest, blob.size);
    let failed = |error: connection::Error| Error::Fetch {
        repository: target.to.repository_name(),
        object: blob.digest.to_string(),
        error,
    };
    target.connection.put(Put { registry, repository, size: blob.size, object }, reader).map_err(failed)
}

impl Source<'_> {
    /// A document, verified.
    fn document(&self, document: &Descriptor) -> Result<Vec<u8>, Error> {
        match self {
            Self::Store(store) => store.read_document(document),
            Self::Layout(input) => {
                let mut bytes = Vec::with_capacity(document.document_size()?);
                let reader = input.blob(&document.digest)?.reader();
                let read = reader.take(document.size.saturating_add(1)).read_to_end(&mut bytes);
                read.map_err(Error::io("read", &input.path))?;
                let found = Digest::from_bytes(Sha256::digest(&bytes).into());
                if found != document.digest {
                    return Err(self.damaged(document, document.digest.to_string(), found.to_string()));
                }
                self.expect_size(document, bytes.len() as u64)?;
                Ok(bytes)
            }
        }
    }

    /// A blob of the expected size; its digest is verified while it is read.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read>, Error> {
        match self {
            Self::Store(store) => {
                let blob = store.open_blob(&descriptor.digest)?;
                let stat = blob.metadata().map_err(Error::io("stat", descriptor.digest.to_string()))?;
                self.expect_size(descriptor, stat.len())?;
                Ok(Box::new(blob))
            }
            Self::Layout(input) => {
                let blob = input.blob(&descriptor.digest)?;
                self.expect_size(descriptor, blob.size())?;
                Ok(Box::new(blob.reader()))
            }
        }
    }

    /// Compares the size before the first byte, as the HTTP request begins with it.
    fn expect_size(&self, blob: &Descriptor, found: u64) -> Result<(), Error> {
        if found == blob.size {
            return Ok(());
        }
        Err(self.damaged(blob, format!("{} bytes", blob.size), found.to_string()))
    }

    fn damaged(&self, blob: &Descriptor, expected: String, found: String) -> Error {
        match self {
            Self::Store(_) => Error::Damaged { blob: blob.digest, reason: CHANGED.to_owned() },
            Self::Layout(input) => {
                let object = format!("blob {} of {}", blob.digest, input.path.display());
                Error::Mismatch { object, expected, found }
            }
        }
    }
}

/// A blob that is hashed while it is read.
struct HashedReader {
    inner: Box<dyn Read>,
    hash: Sha256,
    done: u64,
}

impl Read for HashedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        self.done += count as u64;
        Ok(count)
    }
}
