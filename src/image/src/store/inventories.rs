//! `<state>/images/trees/<hex of the ChainID>`: the inventory of each layer, a list of its files as they were unpacked (compare
//! mtree(5)). The layers belong to the helper's user, the inventories to the manager's, so a process that can change a layer cannot
//! change its inventory.
//!
//! The first line is an [`InventoryRecord`] in JSON, the rest the output of `casemate-unpack list`, by which differences are named.

use super::locks::{ReferenceLock, Sharing, lock, try_lock};
use crate::directory;
use crate::documents;
use crate::error::Error;
use casemate_wire::{Digest, LayerReport};
use rustix::fs::{AtFlags, Mode, OFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The name of an inventory that is being written. There is one at a time, by the writer's lock.
const PARTIAL: &str = ".partial";
const VERSION: u32 = 1;
/// The longest record: its report names at most 32 things that were left out.
const MAX_HEADER: u64 = 128 * 1024;

/// The directory of inventories.
#[derive(Debug)]
pub(super) struct Inventories {
    dir: OwnedFd,
    path: PathBuf,
}

/// The header of an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryRecord {
    version: u32,
    /// sha256 of the inventory.
    list: String,
    /// Bytes that its files take on the disk.
    pub disk: u64,
    /// The report of the unpack.
    pub report: LayerReport,
}

impl Inventories {
    pub(super) const fn new(dir: OwnedFd, path: PathBuf) -> Self {
        Self { dir, path }
    }

    /// Takes the reference lock, waiting for it. `waiting` is called when another process has it.
    pub(super) fn lock(&self, sharing: Sharing, waiting: impl FnOnce()) -> Result<ReferenceLock, Error> {
        lock(&self.dir, &self.path, sharing, waiting).map(ReferenceLock::new)
    }

    /// Takes the reference lock; `None` where another process has it.
    pub(super) fn try_lock(&self, sharing: Sharing) -> Result<Option<ReferenceLock>, Error> {
        Ok(try_lock(&self.dir, &self.path, sharing)?.map(ReferenceLock::new))
    }

    /// The record of a layer, and a reader of its inventory; `None` where the layer has none.
    pub(super) fn open(&self, layer: &Digest) -> Result<Option<(InventoryRecord, impl BufRead + use<>)>, Error> {
        let path = self.path.join(layer.hex());
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.dir, layer.hex(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::errno("open", &path)(errno)),
        };
        let mut file = BufReader::with_capacity(1 << 17, file);
        let mut header = Vec::new();
        (&mut file).take(MAX_HEADER).read_until(b'\n', &mut header).map_err(Error::io("read", &path))?;
        let record = documents::parse_json(&header).and_then(documents::typed::<InventoryRecord>);
        let record = record.map_err(Error::document(path.display()))?;
        if record.version != VERSION {
            let error = documents::Error::Shape(format!("version {} of an inventory is not supported", record.version));
            return Err(Error::document(path.display())(error));
        }
        Ok(Some((record, file)))
    }

    /// An unnamed file, for an inventory that the helper's user writes.
    pub(super) fn scratch(&self) -> Result<File, Error> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, ".", flags, Mode::from_raw_mode(0o600));
        let file = file.map_err(Error::errno("create a file without a name in", &self.path))?;
        Ok(File::from(file))
    }

    /// Stores a layer's inventory. Its writer may still have the file open, so the copy that is made here is hashed and stored.
    pub(super) fn store(&self, layer: &Digest, report: LayerReport, disk: u64, list: &mut File) -> Result<(), Error> {
        let partial = self.path.join(PARTIAL);
        let failed = |step| Error::io(step, &partial);
        // The inventory of a layer with many long names does not fit into memory.
        let mut own = self.scratch()?;
        let digest = list.rewind().and_then(|()| copy(list, &mut own)).map_err(failed("copy the inventory for"))?;
        own.rewind().map_err(failed("rewind the inventory for"))?;
        let header = InventoryRecord { version: VERSION, list: digest.to_string(), disk, report };
        let shape = |error: serde_json::Error| Error::document(layer)(documents::Error::Shape(error.to_string()));
        let mut header = serde_json::to_vec(&header).map_err(shape)?;
        header.push(b'\n');
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, PARTIAL, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(Error::errno("create", &partial))?);
        file.write_all(&header).map_err(failed("write"))?;
        copy(&mut own, &mut file).map_err(failed("write"))?;
        file.sync_all().map_err(failed("fsync"))?;
        let path = self.path.join(layer.hex());
        rustix::fs::renameat(&self.dir, PARTIAL, &self.dir, layer.hex())
            .map_err(Error::errno("rename the inventory to", path))?;
        rustix::fs::fsync(&self.dir).map_err(Error::errno("fsync", &self.path))
    }

    /// Removes a layer's inventory: the layer is not verified any more.
    pub(super) fn remove(&self, layer: &Digest) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.dir, layer.hex(), AtFlags::empty()) {
            // Synced, so that it cannot reappear after a power cut beside a layer that was unpacked again.
            Ok(()) => rustix::fs::fsync(&self.dir).map_err(Error::errno("fsync", &self.path)),
            Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::errno("remove", self.path.join(layer.hex()))(errno)),
        }
    }

    /// Removes all inventories but these.
    pub(super) fn keep_only(&self, keep: impl Fn(&Digest) -> bool) -> Result<(), Error> {
        for name in directory::names(&self.dir).map_err(Error::io("list", &self.path))? {
            let digest = name.to_str().and_then(|name| Digest::from_hex(name).ok());
            if digest.is_some_and(|digest| keep(&digest)) {
                continue;
            }
            let path = self.path.join(&name);
            rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty()).map_err(Error::errno("remove", path))?;
        }
        Ok(())
    }
}

impl InventoryRecord {
    /// Whether an inventory equals the stored one.
    pub(super) fn matches(&self, list: &mut File) -> io::Result<bool> {
        list.rewind()?;
        Ok(copy(list, &mut io::sink())?.to_string() == self.list)
    }
}

/// Copies the rest of a file. Returns the digest of the copied bytes.
fn copy(from: &mut File, to: &mut impl Write) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(Digest::from_bytes(hash.finalize().into())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        let piece = buffer.get(..count).unwrap_or_default();
        hash.update(piece);
        to.write_all(piece)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn inventories(dir: &tempfile::TempDir) -> Inventories {
        let fd = rustix::fs::open(dir.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        Inventories::new(fd, dir.path().to_owned())
    }

    fn record_of(inventories: &Inventories, layer: &Digest) -> Result<Option<InventoryRecord>, Error> {
        Ok(inventories.open(layer)?.map(|(record, _)| record))
    }

    #[test]
    fn inventory_round_trips_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let inventories = inventories(&dir);
        let layer = Digest::from_bytes([7; 32]);
        assert_eq!(record_of(&inventories, &layer).unwrap(), None);
        let mut list = inventories.scratch().unwrap();
        assert!(list.as_fd().try_clone_to_owned().is_ok());
        list.write_all(b"/ dir\n/a file\n").unwrap();
        let report = LayerReport { entries: 2, left_out: vec!["dev/sda: device".into()], ..LayerReport::default() };
        inventories.store(&layer, report.clone(), 4096, &mut list).unwrap();
        let (record, mut rest) = inventories.open(&layer).unwrap().unwrap();
        assert_eq!((record.report.clone(), record.disk), (report, 4096));
        let mut text = String::new();
        rest.read_to_string(&mut text).unwrap();
        assert_eq!(text, "/ dir\n/a file\n");
        assert!(record.matches(&mut list).unwrap());
        list.write_all(b"/b file\n").unwrap();
        assert!(!record.matches(&mut list).unwrap());
        inventories.keep_only(|digest| *digest == layer).unwrap();
        assert!(record_of(&inventories, &layer).unwrap().is_some());
        inventories.keep_only(|_| false).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn damaged_inventory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let inventories = inventories(&dir);
        let layer = Digest::from_bytes([7; 32]);
        for text in ["", "{}\n", "{\"version\":1}\n/ dir\n", "/ dir\n"] {
            std::fs::write(dir.path().join(layer.hex()), text).unwrap();
            assert!(record_of(&inventories, &layer).is_err(), "{text:?}");
        }
        inventories.remove(&layer).unwrap();
        assert_eq!(record_of(&inventories, &layer).unwrap(), None);
        inventories.remove(&layer).unwrap();
    }
}
