//! `<state>/images/`: the records of a store's images. Writers replace a record by rename.

use super::locks::{Sharing, lock, try_lock};
use super::record::{self, Record};
use crate::directory;
use crate::documents::MAX_DOCUMENT;
use crate::error::Error;
use casemate_wire::Digest;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The name of a record that is being written. There is one at a time, by the writer's lock.
const PARTIAL: &str = ".partial";

/// The directory of records.
#[derive(Debug)]
pub(super) struct Records {
    dir: OwnedFd,
    path: PathBuf,
}

impl Records {
    pub(super) const fn new(dir: OwnedFd, path: PathBuf) -> Self {
        Self { dir, path }
    }

    /// The pins of all records.
    pub(super) fn pins(&self) -> Result<BTreeSet<Digest>, Error> {
        let names = directory::names(&self.dir).map_err(Error::io("list", &self.path))?;
        Ok(names.iter().filter_map(|name| Digest::from_hex(name.to_str()?.strip_suffix(".json")?).ok()).collect())
    }

    /// The record of a pin, where there is one.
    pub(super) fn read(&self, pin: &Digest) -> Result<Option<Record>, Error> {
        let name = file_name(pin);
        let path = self.path.join(&name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.dir, &name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::errno("open", &path)(errno)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
        record::decode(pin, &bytes).map(Some).map_err(Error::document(path.display()))
    }

    /// Writes a record, in place of an earlier one.
    pub(super) fn replace(&self, record: &Record) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let partial = self.path.join(PARTIAL);
        let file = rustix::fs::openat(&self.dir, PARTIAL, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(Error::errno("create", &partial))?);
        file.write_all(&record::encode(record)?).map_err(Error::io("write", &partial))?;
        file.sync_all().map_err(Error::io("fsync", &partial))?;
        let name = file_name(&record.pin);
        rustix::fs::renameat(&self.dir, PARTIAL, &self.dir, &name)
            .map_err(Error::errno("rename the record to", self.path.join(&name)))?;
        self.sync()
    }

    /// Removes a record.
    pub(super) fn remove(&self, pin: &Digest) -> Result<(), Error> {
        let name = file_name(pin);
        rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty())
            .map_err(Error::errno("remove", self.path.join(&name)))?;
        self.sync()
    }

    /// Whether a crash has left a partial record.
    pub(super) fn leftover(&self) -> Result<Option<String>, Error> {
        let names = directory::names(&self.dir).map_err(Error::io("list", &self.path))?;
        Ok(names.iter().any(|name| name == PARTIAL).then(|| PARTIAL.to_owned()))
    }

    /// Removes a partial record that a crash has left.
    pub(super) fn sweep(&self) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.dir, PARTIAL, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::errno("remove", self.path.join(PARTIAL))(errno)),
        }
    }

    /// Takes the writer's lock, waiting for it. `waiting` is called when another process has it.
    pub(super) fn lock(&self, waiting: impl FnOnce()) -> Result<OwnedFd, Error> {
        lock(&self.dir, &self.path, Sharing::Exclusive, waiting)
    }

    /// Takes the writer's lock; `None` where another process has it.
    pub(super) fn try_lock(&self) -> Result<Option<OwnedFd>, Error> {
        try_lock(&self.dir, &self.path, Sharing::Exclusive)
    }

    fn sync(&self) -> Result<(), Error> {
        rustix::fs::fsync(&self.dir).map_err(Error::errno("fsync", &self.path))
    }
}

fn file_name(pin: &Digest) -> String {
    format!("{}.json", pin.hex())
}
