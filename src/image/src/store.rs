//! The store of images: blobs by digest and one record an image. Readers need no lock; writers hold one lock at a time.
//!
//! A crash at any moment leaves the records as they were and at most blobs that none of them names: the next writer sweeps.

use super::blobs::{self, Blobs, Promise};
use super::error::Error;
use super::history;
use super::locks::{lock, try_lock};
use super::manifest::Descriptor;
use super::model::Image;
use super::platform::Host;
use super::preloaded::Preloaded;
use super::prove::{Proof, prove};
use super::record::{self, Record};
use super::trees::Trees;
use casemate_wire::Digest;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const PARTIAL: &str = ".partial";

/// The store below one state directory.
#[derive(Debug)]
pub struct Store {
    blobs: Blobs,
    images: OwnedFd,
    path: PathBuf,
    trees: Trees,
    host: Host,
    preload: Vec<Preloaded>,
}

/// The right to change the store; one exists at a time, over all processes.
#[derive(Debug)]
#[must_use]
pub struct Writer<'a> {
    store: &'a Store,
    /// Held, never read: closing it ends the lock.
    _lock: OwnedFd,
}

impl Store {
    /// Opens the store of a state directory, which exists; makes what is missing below it, for its owner alone.
    pub fn open(state: &Path) -> Result<Self, Error> {
        // Started by root it is root's, to be passed through and not read.
        let root = rustix::fs::open(state, DIRECTORY | OFlags::PATH, Mode::empty());
        Self::below(&root.map_err(Error::errno("open the state directory", state))?, state, subdirectory)
    }

    /// Opens the store of a directory that is only read: what is missing below it is an error.
    pub(super) fn open_there(state: &Path) -> Result<Self, Error> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let root = rustix::fs::open(state, flags, Mode::empty());
        let root = root.map_err(Error::errno("open the preloaded store", state))?;
        Self::below(&root, state, |parent, name, path| {
            let opened = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty());
            opened.map_err(Error::errno("open", path.join(name)))
        })
    }

    fn below(
        root: &OwnedFd,
        state: &Path,
        subdirectory: impl Fn(&OwnedFd, &str, &Path) -> Result<OwnedFd, Error>,
    ) -> Result<Self, Error> {
        let blobs = subdirectory(root, "blobs", state)?;
        let sha256 = subdirectory(&blobs, "sha256", &state.join("blobs"))?;
        let partial = subdirectory(&blobs, "partial", &state.join("blobs"))?;
        let images = subdirectory(root, "images", state)?;
        let trees = subdirectory(&images, "trees", &state.join("images"))?;
        Ok(Self {
            blobs: Blobs::new(sha256, partial, &state.join("blobs")),
            images,
            path: state.join("images"),
            trees: Trees::new(trees, state.join("images/trees")),
            host: Host::this(),
            preload: Vec::new(),
        })
    }

    /// With stores that are looked into where this one has not got something.
    pub(super) fn looking_into(self, preload: Vec<Preloaded>) -> Self {
        Self { preload, ..self }
    }

    /// These stores.
    pub fn preloaded(&self) -> &[Preloaded] {
        &self.preload
    }

    /// Its own blobs.
    pub(super) const fn own_blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Where a blob lies, for reading: here if it is here.
    fn shelf(&self, digest: &Digest) -> &Blobs {
        let others = self.preload.iter().map(Preloaded::shelf);
        std::iter::once(&self.blobs).chain(others).find(|blobs| blobs.is_there(digest)).unwrap_or(&self.blobs)
    }

    /// From now on, writes leave so many bytes of the file system free.
    #[must_use]
    pub const fn with_reserve(mut self, bytes: u64) -> Self {
        self.blobs.reserve(bytes);
        self
    }

    /// What is wrong with a blob's bytes, if anything is.
    pub(super) fn doubt_blob(&self, digest: &Digest, progress: &mut dyn FnMut(u64)) -> Result<Option<String>, Error> {
        self.blobs.doubt(digest, progress)
    }

    /// Removes a blob whose bytes are not its own.
    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<(), Error> {
        self.blobs.remove(digest)
    }

    /// Names among the blobs and records that are none: what a crash has left.
    pub(super) fn strays(&self) -> Result<Vec<String>, Error> {
        let mut names = self.blobs.strays()?;
        let own = blobs::names(&self.images).map_err(Error::io("list", &self.path))?;
        let own = own.iter().map(|name| name.to_string_lossy().into_owned());
        names.extend(own.filter(|name| name == PARTIAL));
        names.extend(self.blobs.partials()?.into_iter().map(|(name, _)| format!("{name} of a pull")));
        Ok(names)
    }

    /// Bytes that stay free.
    pub const fn reserved(&self) -> u64 {
        self.blobs.reserved()
    }

    /// Bytes that can still be written, the reserve included.
    pub fn free(&self) -> Result<u64, Error> {
        self.blobs.free()
    }

    /// Bytes of blobs that a pull has not finished.
    pub fn unfinished(&self) -> Result<u64, Error> {
        Ok(self.blobs.partials()?.iter().map(|(_, bytes)| bytes).sum())
    }

    /// Every blob with its bytes, by digest.
    pub fn blobs(&self) -> Result<Vec<(Digest, u64)>, Error> {
        self.blobs.list()
    }

    /// Bytes that can be written without touching the reserve; `None` where nothing is reserved.
    pub(super) fn room(&self) -> Result<Option<(u64, u64)>, Error> {
        let reserve = self.blobs.reserved();
        if reserve == 0 { Ok(None) } else { Ok(Some((self.blobs.room()?, reserve))) }
    }

    /// Proves the image of this pin again, from the store's bytes. Layers are proven when they are unpacked.
    pub fn resolve(&self, pin: &Digest) -> Result<Image, Error> {
        let record = self.record(pin)?.ok_or(Error::NotImported(*pin))?;
        let proof = prove(&record.descriptor(), self.host, &mut |document| self.read_document(document))?;
        Ok(Image { names: record.names, ..proof.image })
    }

    /// The proof of this pin's image, made again from the store's bytes.
    pub(super) fn proof(&self, pin: &Digest) -> Result<Proof, Error> {
        let record = self.record(pin)?.ok_or(Error::NotImported(*pin))?;
        prove(&record.descriptor(), self.host, &mut |document| self.read_document(document))
    }

    /// A document, proven.
    pub(super) fn read_document(&self, document: &Descriptor) -> Result<Vec<u8>, Error> {
        self.shelf(&document.digest).read_document(document)
    }

    /// What the config of this pin's image says of its making; the config is proven again.
    pub fn history(&self, pin: &Digest) -> Result<Vec<history::Step>, Error> {
        let proof = self.proof(pin)?;
        let Some(config) = proof.documents.last() else { return Ok(Vec::new()) };
        history::parse(&self.read_document(config)?).map_err(Error::document(config.digest))
    }

    /// The pins of all its own images.
    pub(super) fn pins(&self) -> Result<BTreeSet<Digest>, Error> {
        let names = blobs::names(&self.images).map_err(Error::io("list", &self.path))?;
        Ok(names.iter().filter_map(|name| Digest::from_hex(name.to_str()?.strip_suffix(".json")?).ok()).collect())
    }

    /// Every image of its own, by pin: those that can be changed.
    pub fn records(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for pin in self.pins()? {
            // One that was removed since the listing is none.
            records.extend(self.own_record(&pin)?);
        }
        Ok(records)
    }

    /// Its own record of this pin.
    pub(super) fn own_record(&self, pin: &Digest) -> Result<Option<Record>, Error> {
        let name = record_name(pin);
        let path = self.path.join(&name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.images, &name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::errno("open", &path)(errno)),
        };
        let mut bytes = Vec::new();
        let limit = super::json::MAX_DOCUMENT as u64 + 1;
        file.take(limit).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
        record::decode(pin, &bytes).map(Some).map_err(Error::document(path.display()))
    }

    /// Its own records of layers.
    pub(super) const fn trees(&self) -> &Trees {
        &self.trees
    }

    /// A blob, open for reading at its start; not proven.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        self.shelf(digest).open(digest)
    }

    /// This host, for the choice in an index.
    pub(super) const fn host(&self) -> Host {
        self.host
    }

    /// The right to change the store; `None`: somebody else has it.
    pub fn try_lock(&self) -> Result<Option<Writer<'_>>, Error> {
        let lock = try_lock(&self.images, &self.path, FlockOperation::NonBlockingLockExclusive)?;
        Ok(lock.map(|lock| Writer { store: self, _lock: lock }))
    }

    /// Waits for the right to change the store. `waiting` is called when somebody else has it.
    pub fn lock(&self, waiting: impl FnOnce()) -> Result<Writer<'_>, Error> {
        let (exclusive, wait) = (FlockOperation::NonBlockingLockExclusive, FlockOperation::LockExclusive);
        let lock = lock(&self.images, &self.path, (exclusive, wait), waiting)?;
        Ok(Writer { store: self, _lock: lock })
    }
}

impl<'a> Writer<'a> {
    /// The store, for reading.
    pub const fn store(&self) -> &'a Store {
        self.store
    }

    /// Writes a blob that a record of this writer will name.
    pub(super) fn write_blob(
        &self,
        object: &str,
        source: &mut dyn Read,
        promise: Promise,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Digest, Error> {
        self.store.blobs.write(object, source, promise, progress)
    }

    /// The blobs, for a pull.
    pub(super) const fn blobs(&self) -> &'a Blobs {
        &self.store.blobs
    }

    /// Whether a blob of this size is in the store.
    pub(super) fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        self.store.blobs.has(digest, size)
    }

    /// Reads a document back, proven.
    pub(super) fn read_document(&self, document: &Descriptor) -> Result<Vec<u8>, Error> {
        self.store.blobs.read_document(document)
    }

    /// Makes an image appear, with its blobs on the disk. An image of this pin that is there already keeps its names.
    pub(super) fn commit(&self, mut record: Record) -> Result<(), Error> {
        if let Some(earlier) = self.store.own_record(&record.pin)? {
            record.names.extend(earlier.names);
            record.held |= earlier.held;
        }
        record.names.sort();
        record.names.dedup();
        self.replace(&record)
    }

    /// Writes a record as it is, in the place of one that is there.
    pub(super) fn replace(&self, record: &Record) -> Result<(), Error> {
        self.store.blobs.sync()?;
        let Store { images, path, .. } = self.store;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let partial = path.join(PARTIAL);
        let file = rustix::fs::openat(images, PARTIAL, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(Error::errno("create", &partial))?);
        file.write_all(&record::encode(record)?).map_err(Error::io("write", &partial))?;
        file.sync_all().map_err(Error::io("fsync", &partial))?;
        let name = record_name(&record.pin);
        rustix::fs::renameat(images, PARTIAL, images, &name)
            .map_err(Error::errno("rename the record to", path.join(&name)))?;
        rustix::fs::fsync(images).map_err(Error::errno("fsync", path))
    }

    /// Removes an image's record. Its blobs go with the next [`Self::sweep`].
    pub(super) fn remove(&self, pin: &Digest) -> Result<(), Error> {
        let name = record_name(pin);
        let path = &self.store.path;
        rustix::fs::unlinkat(&self.store.images, &name, AtFlags::empty())
            .map_err(Error::errno("remove", path.join(&name)))?;
        rustix::fs::fsync(&self.store.images).map_err(Error::errno("fsync", path))
    }

    /// Removes what no record names: left by a crash, a failed import or a removed image. Returns the bytes freed.
    pub(super) fn sweep(&self) -> Result<u64, Error> {
        match rustix::fs::unlinkat(&self.store.images, PARTIAL, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(Error::errno("remove", self.store.path.join(PARTIAL))(errno)),
        }
        let named = blobs_of(&self.store.records()?);
        self.store.blobs.keep_only(|digest| named.contains(digest))
    }

    /// Removes those blobs of images that are gone which no other one names. Returns the bytes freed.
    pub(super) fn sweep_blobs_of(&self, gone: &[Record]) -> Result<u64, Error> {
        let (named, gone) = (blobs_of(&self.store.records()?), blobs_of(gone));
        self.store.blobs.keep_only(|digest| named.contains(digest) || !gone.contains(digest))
    }
}

fn blobs_of(records: &[Record]) -> BTreeSet<Digest> {
    records.iter().flat_map(|record| record.blobs.iter().map(|(digest, _)| *digest)).collect()
}

fn record_name(pin: &Digest) -> String {
    format!("{}.json", pin.hex())
}

fn subdirectory(parent: &OwnedFd, name: &str, path: &Path) -> Result<OwnedFd, Error> {
    let path = path.join(name);
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Ok(()) => rustix::fs::fsync(parent).map_err(Error::errno("fsync", &path))?,
        Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(Error::errno("create", &path)(errno)),
    }
    rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()).map_err(Error::errno("open", &path))
}
