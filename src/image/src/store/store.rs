//! The store below a state directory, with its read-only stores, and the right to change it.
//!
//! A crash at any moment leaves the records as they were and at most blobs that no record names: the next writer removes those.

use super::blobs::{Blobs, Expected};
use super::directories::Directories;
use super::inventories::{Inventories, InventoryRecord};
use super::locks::{ReferenceLock, Sharing};
use super::read_only::ReadOnlyStore;
use super::record::Record;
use crate::documents::{Descriptor, Host, Image, ResolvedImage, history, resolve};
use crate::error::Error;
use casemate_wire::Digest;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The store of a state directory.
#[derive(Debug)]
pub struct Store {
    own: Directories,
    read_only: Vec<ReadOnlyStore>,
    host: Host,
}

/// The right to change the store. There is one at a time, over all processes.
#[derive(Debug)]
#[must_use]
pub struct Writer<'a> {
    store: &'a Store,
    /// Held, never read: closing it ends the lock.
    _lock: OwnedFd,
}

impl Store {
    /// Opens the store of a state directory, which exists, and creates what is missing below it, for its owner only.
    pub fn open(state: &Path) -> Result<Self, Error> {
        Self::open_with(state, &[])
    }

    /// Like [`Self::open`], with read-only stores, which are searched in this order for what the own store lacks.
    pub fn open_with(state: &Path, read_only: &[PathBuf]) -> Result<Self, Error> {
        let read_only = read_only.iter().map(|path| ReadOnlyStore::open(path)).collect::<Result<_, _>>()?;
        Ok(Self { own: Directories::open(state)?, read_only, host: Host::this() })
    }

    /// The read-only stores.
    pub fn read_only(&self) -> &[ReadOnlyStore] {
        &self.read_only
    }

    /// Makes writes leave so many bytes of the file system free (`store.free_space`).
    #[must_use]
    pub const fn with_free_space(mut self, bytes: u64) -> Self {
        self.own.blobs.space.set_keep_free(bytes);
        self
    }

    /// Bytes that writes leave free; 0 where there is no such bound.
    pub const fn free_space(&self) -> u64 {
        self.own.blobs.space.keep_free()
    }

    /// Free bytes of the file system, those of [`Self::free_space`] included.
    pub fn free(&self) -> Result<u64, Error> {
        self.own.blobs.free()
    }

    /// Bytes that can be written; `None` where [`Self::free_space`] is no bound.
    pub(super) fn available(&self) -> Result<Option<u64>, Error> {
        if self.free_space() == 0 { Ok(None) } else { self.own.blobs.available().map(Some) }
    }

    /// This host, for the choice in an index.
    pub(crate) const fn host(&self) -> Host {
        self.host
    }

    /// Resolves a pin to its image. All documents are verified; layers are verified when they are unpacked.
    pub fn resolve(&self, pin: &Digest) -> Result<Image, Error> {
        let record = self.record(pin)?.ok_or(Error::NotImported(*pin))?;
        let resolved = resolve(&record.descriptor(), self.host, &mut |document| self.read_document(document))?;
        Ok(Image { names: record.names, ..resolved.image })
    }

    /// Resolves a pin to its image and its documents.
    pub(crate) fn resolve_documents(&self, pin: &Digest) -> Result<ResolvedImage, Error> {
        let record = self.record(pin)?.ok_or(Error::NotImported(*pin))?;
        resolve(&record.descriptor(), self.host, &mut |document| self.read_document(document))
    }

    /// The history in the config of an image; the config is verified.
    pub fn history(&self, pin: &Digest) -> Result<Vec<history::Step>, Error> {
        let resolved = self.resolve_documents(pin)?;
        let Some(config) = resolved.documents.last() else { return Ok(Vec::new()) };
        history::parse(&self.read_document(config)?).map_err(Error::document(config.digest))
    }

    /// Takes the right to change the store; `None` where another process has it.
    pub fn try_lock(&self) -> Result<Option<Writer<'_>>, Error> {
        Ok(self.own.records.try_lock()?.map(|lock| Writer { store: self, _lock: lock }))
    }

    /// Waits for the right to change the store. `waiting` is called when another process has it.
    pub fn lock(&self, waiting: impl FnOnce()) -> Result<Writer<'_>, Error> {
        Ok(Writer { store: self, _lock: self.own.records.lock(waiting)? })
    }

    /// Takes the reference lock shared, from resolving an image until the file that names it is applied; `None` where a process
    /// removes images.
    pub fn try_lock_references(&self) -> Result<Option<ReferenceLock>, Error> {
        self.own.inventories.try_lock(Sharing::Shared)
    }

    /// Like [`Self::try_lock_references`], and waits. `waiting` is called when a process removes images.
    pub fn lock_references(&self, waiting: impl FnOnce()) -> Result<ReferenceLock, Error> {
        self.own.inventories.lock(Sharing::Shared, waiting)
    }

    /// Takes the reference lock exclusively, to remove images; `None` where a start is between resolving an image and applying its file.
    pub fn try_lock_references_exclusively(&self) -> Result<Option<ReferenceLock>, Error> {
        self.own.inventories.try_lock(Sharing::Exclusive)
    }

    /// Like [`Self::try_lock_references_exclusively`], and waits. `waiting` is called when such a start is under way.
    pub fn lock_references_exclusively(&self, waiting: impl FnOnce()) -> Result<ReferenceLock, Error> {
        self.own.inventories.lock(Sharing::Exclusive, waiting)
    }
}

/// Records.
impl Store {
    /// The pins of the store's own images.
    pub(super) fn pins(&self) -> Result<BTreeSet<Digest>, Error> {
        self.own.records.pins()
    }

    /// The store's own images by pin: those that can be changed.
    pub fn records(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for pin in self.pins()? {
            // None: removed since the directory was listed.
            records.extend(self.own_record(&pin)?);
        }
        Ok(records)
    }

    /// The own record of a pin.
    pub(crate) fn own_record(&self, pin: &Digest) -> Result<Option<Record>, Error> {
        self.own.records.read(pin)
    }

    /// The record of a pin: the own one, else that of the first read-only store that has one.
    pub fn record(&self, pin: &Digest) -> Result<Option<Record>, Error> {
        if let Some(own) = self.own_record(pin)? {
            return Ok(Some(own));
        }
        for other in &self.read_only {
            if let Some(record) = other.record(pin)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Every image that can be used, by pin. One that several stores have is listed once, as [`Self::record`] returns it.
    pub fn all_records(&self) -> Result<Vec<Record>, Error> {
        let mut records = self.records()?;
        for record in self.read_only_records()? {
            if !records.iter().any(|own| own.pin == record.pin) {
                records.push(record);
            }
        }
        records.sort_by_key(|record| record.pin);
        Ok(records)
    }

    /// The images of the read-only stores.
    fn read_only_records(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for other in &self.read_only {
            records.extend(other.records()?);
        }
        Ok(records)
    }

    /// The layers of the read-only stores' images.
    pub(super) fn read_only_layers(&self) -> Result<BTreeSet<Digest>, Error> {
        Ok(self.read_only_records()?.into_iter().flat_map(|record| record.layers).collect())
    }

    /// The read-only store that an image is used from; `None` where the own store has it, or no store has it.
    pub fn read_only_store_of(&self, pin: &Digest) -> Result<Option<&Path>, Error> {
        if self.own_record(pin)?.is_some() {
            return Ok(None);
        }
        for other in &self.read_only {
            if other.record(pin)?.is_some() {
                return Ok(Some(other.path()));
            }
        }
        Ok(None)
    }

    /// Refuses to change an image of a read-only store.
    pub fn expect_own(&self, pin: &Digest) -> Result<(), Error> {
        match self.read_only_store_of(pin)? {
            None => Ok(()),
            Some(store) => Err(Error::ReadOnly { image: *pin, store: store.to_owned() }),
        }
    }
}

/// Blobs.
impl Store {
    /// The blobs of the store that has this one: the own store if it does.
    fn blobs_with(&self, digest: &Digest) -> &Blobs {
        let own = &self.own.blobs;
        let others = self.read_only.iter().map(ReadOnlyStore::blobs);
        std::iter::once(own).chain(others).find(|blobs| blobs.exists(digest)).unwrap_or(own)
    }

    /// The own blobs with their sizes, by digest.
    pub fn blobs(&self) -> Result<Vec<(Digest, u64)>, Error> {
        self.own.blobs.list()
    }

    /// A blob, open for reading at its start; not verified.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        self.blobs_with(digest).open(digest)
    }

    /// A document, verified.
    pub(crate) fn read_document(&self, document: &Descriptor) -> Result<Vec<u8>, Error> {
        self.blobs_with(&document.digest).read_document(document)
    }

    /// Hashes an own blob. Returns its damage; `None` where it has none.
    pub(super) fn verify_blob(&self, digest: &Digest, progress: &mut dyn FnMut(u64)) -> Result<Option<String>, Error> {
        self.own.blobs.verify(digest, progress)
    }

    /// Removes a damaged blob.
    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<(), Error> {
        self.own.blobs.remove(digest)
    }

    /// Bytes of blobs that a pull has not finished.
    pub fn unfinished(&self) -> Result<u64, Error> {
        Ok(self.own.blobs.partials()?.iter().map(|(_, bytes)| bytes).sum())
    }

    /// Names among blobs and records that are neither: left by a crash or an interrupted pull.
    pub(super) fn leftovers(&self) -> Result<Vec<String>, Error> {
        let mut names = self.own.blobs.leftovers()?;
        names.extend(self.own.records.leftover()?);
        names.extend(self.own.blobs.partials()?.into_iter().map(|(name, _)| format!("{name} of a pull")));
        Ok(names)
    }
}

/// Inventories.
impl Store {
    /// The own inventories.
    pub(super) const fn inventories(&self) -> &Inventories {
        &self.own.inventories
    }

    /// The record of a layer's inventory; `None` where there is none, so that the layer cannot be verified.
    pub fn inventory_record(&self, layer: &Digest) -> Result<Option<InventoryRecord>, Error> {
        if let Some((own, _)) = self.inventories().open(layer)? {
            return Ok(Some(own));
        }
        for other in &self.read_only {
            if let Some(record) = other.inventory_record(layer)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// A layer's inventory, for reading.
    pub(super) fn open_inventory(&self, layer: &Digest) -> Result<Option<Box<dyn BufRead>>, Error> {
        if let Some((_, own)) = self.inventories().open(layer)? {
            return Ok(Some(Box::new(own)));
        }
        for other in &self.read_only {
            if let Some((_, inventory)) = other.inventory(layer)? {
                return Ok(Some(Box::new(inventory)));
            }
        }
        Ok(None)
    }
}

impl<'a> Writer<'a> {
    /// The store, for reading.
    pub const fn store(&self) -> &'a Store {
        self.store
    }

    /// Writes a blob that a record of this writer will name.
    pub(crate) fn write_blob(
        &self,
        object: &str,
        source: &mut dyn Read,
        expected: Expected,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Digest, Error> {
        self.store.own.blobs.write(object, source, expected, progress)
    }

    /// The own blobs, for a pull.
    pub(crate) const fn blobs(&self) -> &'a Blobs {
        &self.store.own.blobs
    }

    /// Whether the own store has a blob of this digest and size.
    pub(crate) fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        self.store.own.blobs.has(digest, size)
    }

    /// A document of the own store, verified.
    pub(crate) fn read_document(&self, document: &Descriptor) -> Result<Vec<u8>, Error> {
        self.store.own.blobs.read_document(document)
    }

    /// Makes an image appear, once its blobs are on the disk. It keeps the names of an earlier image of the same pin.
    pub(crate) fn commit(&self, mut record: Record) -> Result<(), Error> {
        if let Some(earlier) = self.store.own_record(&record.pin)? {
            record.names.extend(earlier.names);
            record.held |= earlier.held;
        }
        record.names.sort();
        record.names.dedup();
        self.replace(&record)
    }

    /// Writes a record, in place of an earlier one of the same pin.
    pub(crate) fn replace(&self, record: &Record) -> Result<(), Error> {
        self.store.own.blobs.sync()?;
        self.store.own.records.replace(record)
    }

    /// Removes an image's record. Its blobs go with the next [`Self::sweep`].
    pub(crate) fn remove(&self, pin: &Digest) -> Result<(), Error> {
        self.store.own.records.remove(pin)
    }

    /// Removes blobs that no record names: left by a crash, a failed import or a removed image. Returns the bytes freed.
    pub(super) fn sweep(&self) -> Result<u64, Error> {
        self.store.own.records.sweep()?;
        let named = blobs_of(&self.store.records()?);
        self.store.own.blobs.keep_only(|digest| named.contains(digest))
    }

    /// Removes the blobs of removed images that no other image has. Returns the bytes freed.
    pub(super) fn sweep_blobs_of(&self, removed: &[Record]) -> Result<u64, Error> {
        let named = blobs_of(&self.store.records()?);
        let removed = blobs_of(removed);
        self.store.own.blobs.keep_only(|digest| named.contains(digest) || !removed.contains(digest))
    }
}

fn blobs_of(records: &[Record]) -> BTreeSet<Digest> {
    records.iter().flat_map(|record| record.blobs.iter().map(|(digest, _)| *digest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nothing_is_created_in_a_read_only_store() {
        let own = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let read_only = [other.path().to_owned()];
        assert!(Store::open_with(own.path(), &read_only).is_err());
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
        for state in [&own, &other] {
            fs::create_dir(state.path().join("blobs")).unwrap();
            fs::create_dir(state.path().join("images")).unwrap();
        }
        assert!(Store::open_with(own.path(), &read_only).is_err());
        assert_eq!(fs::read_dir(other.path().join("blobs")).unwrap().count(), 0);
        drop(Store::open(other.path()).unwrap());
        let store = Store::open_with(own.path(), &read_only).unwrap();
        assert_eq!(store.all_records().unwrap(), []);
        assert_eq!(store.read_only_store_of(&Digest::from_bytes([1; 32])).unwrap(), None);
    }
}
