//! Read-only image stores (`store.preload`; podman calls them additional image stores): images are used from them in place.
//!
//! They are verified like the instance's own store, and nothing here can write to them: their images are not collected, removed or
//! repaired.

use super::blobs::Blobs;
use super::directories::Directories;
use super::inventories::InventoryRecord;
use super::record::Record;
use crate::documents::{Host, Image};
use crate::error::Error;
use casemate_wire::Digest;
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// A pin with its record, or the record's damage.
type PinnedRecord = (Digest, Result<Record, Error>);

/// A read-only store.
#[derive(Debug)]
pub struct ReadOnlyStore {
    path: PathBuf,
    directories: Directories,
}

impl ReadOnlyStore {
    /// Opens the store at this path, which the caller has checked.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { path: path.to_owned(), directories: Directories::open_existing(path)? })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its images by pin, without those whose record is damaged.
    pub fn records(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for (_, record) in self.each_record()? {
            records.extend(readable(record.map(Some))?);
        }
        Ok(records)
    }

    /// Each pin with its record, or the record's damage.
    pub(super) fn each_record(&self) -> Result<Vec<PinnedRecord>, Error> {
        let records = &self.directories.records;
        let missing = |pin: &Digest| Err(Error::NotImported(*pin));
        let record = |pin: Digest| (pin, records.read(&pin).and_then(|own| own.map_or_else(|| missing(&pin), Ok)));
        Ok(records.pins()?.into_iter().map(record).collect())
    }

    /// The record of a pin, where there is one and it is not damaged.
    pub(super) fn record(&self, pin: &Digest) -> Result<Option<Record>, Error> {
        readable(self.directories.records.read(pin))
    }

    /// Its blobs.
    pub(super) const fn blobs(&self) -> &Blobs {
        &self.directories.blobs
    }

    /// Resolves one of its images, with its own blobs only.
    pub(super) fn resolve(&self, pin: &Digest, host: Host) -> Result<Image, Error> {
        let record = self.directories.records.read(pin)?.ok_or(Error::NotImported(*pin))?;
        let resolved = self.directories.resolve(&record, host)?;
        Ok(Image { names: record.names, ..resolved.image })
    }

    /// The record of a layer's inventory.
    pub(super) fn inventory_record(&self, layer: &Digest) -> Result<Option<InventoryRecord>, Error> {
        Ok(self.inventory(layer)?.map(|(record, _)| record))
    }

    /// The record of a layer's inventory, and a reader of the inventory.
    pub(super) fn inventory(&self, layer: &Digest) -> Result<Option<(InventoryRecord, impl BufRead + use<>)>, Error> {
        readable(self.directories.inventories.open(layer))
    }
}

/// Treats a damaged document of a read-only store as missing. It cannot be repaired here, and what the instance's own store has must
/// not fail because of it; `fsck` reports it.
fn readable<T>(document: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match document {
        Err(Error::Document(_)) => Ok(None),
        document => document,
    }
}
