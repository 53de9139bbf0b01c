//! The directories of one store below its state directory: blobs, records, inventories.

use super::blobs::Blobs;
use super::inventories::Inventories;
use super::record::Record;
use super::records::Records;
use crate::documents::{Host, ResolvedImage, resolve};
use crate::error::Error;
use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directories, open.
#[derive(Debug)]
pub(super) struct Directories {
    pub(super) blobs: Blobs,
    pub(super) records: Records,
    pub(super) inventories: Inventories,
}

impl Directories {
    /// Opens those of a state directory, which exists, and creates what is missing, for its owner only.
    pub(super) fn open(state: &Path) -> Result<Self, Error> {
        // O_PATH: after a start as root the state directory is root's, with the right to pass through but not to list.
        let root = rustix::fs::open(state, DIRECTORY | OFlags::PATH, Mode::empty());
        Self::open_below(&root.map_err(Error::errno("open the state directory", state))?, state, create)
    }

    /// Opens those of a read-only store: a missing directory is an error.
    pub(super) fn open_existing(state: &Path) -> Result<Self, Error> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let root = rustix::fs::open(state, flags, Mode::empty());
        let root = root.map_err(Error::errno("open the preloaded store", state))?;
        Self::open_below(&root, state, |parent, name, path| {
            let opened = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty());
            opened.map_err(Error::errno("open", path.join(name)))
        })
    }

    fn open_below(
        root: &OwnedFd,
        state: &Path,
        open: impl Fn(&OwnedFd, &str, &Path) -> Result<OwnedFd, Error>,
    ) -> Result<Self, Error> {
        let blobs = open(root, "blobs", state)?;
        let sha256 = open(&blobs, "sha256", &state.join("blobs"))?;
        let partial = open(&blobs, "partial", &state.join("blobs"))?;
        let images = open(root, "images", state)?;
        // The directory's name on the disk is older than the word inventory.
        let trees = open(&images, "trees", &state.join("images"))?;
        Ok(Self {
            blobs: Blobs::new(sha256, partial, &state.join("blobs")),
            records: Records::new(images, state.join("images")),
            inventories: Inventories::new(trees, state.join("images/trees")),
        })
    }

    /// Resolves an image from its record, with blobs of these directories only.
    pub(super) fn resolve(&self, record: &Record, host: Host) -> Result<ResolvedImage, Error> {
        resolve(&record.descriptor(), host, &mut |document| self.blobs.read_document(document))
    }
}

fn create(parent: &OwnedFd, name: &str, path: &Path) -> Result<OwnedFd, Error> {
    let path = path.join(name);
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Ok(()) => rustix::fs::fsync(parent).map_err(Error::errno("fsync", &path))?,
        Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(Error::errno("create", &path)(errno)),
    }
    rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()).map_err(Error::errno("open", &path))
}
