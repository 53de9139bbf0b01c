//! The locks of the store: one for who changes it, and one between those who use images that no applied file names yet and those who
//! take images away. The second is taken first. Each ends with the value that holds it, however that ends.

use super::error::Error;
use super::store::Store;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The promise that no image is taken away, or that nobody counts on one that no applied file names.
#[derive(Debug)]
#[must_use]
pub struct Using(#[expect(dead_code, reason = "held, never read: closing it ends the lock")] OwnedFd);

impl Store {
    /// Keeps images from being taken away, between looking for one and applying the file that names it; `None`: somebody is about it.
    pub fn try_using(&self) -> Result<Option<Using>, Error> {
        Ok(self.trees().try_lock(FlockOperation::NonBlockingLockShared)?.map(Using))
    }

    /// As [`Self::try_using`], and waits for it.
    pub fn using(&self, waiting: impl FnOnce()) -> Result<Using, Error> {
        let (shared, wait) = (FlockOperation::NonBlockingLockShared, FlockOperation::LockShared);
        self.trees().lock((shared, wait), waiting).map(Using)
    }

    /// Has nobody about to use images that no applied file names yet; `None`: somebody is.
    pub fn try_taking(&self) -> Result<Option<Using>, Error> {
        Ok(self.trees().try_lock(FlockOperation::NonBlockingLockExclusive)?.map(Using))
    }

    /// As [`Self::try_taking`], and waits for it.
    pub fn taking(&self, waiting: impl FnOnce()) -> Result<Using, Error> {
        let (exclusive, wait) = (FlockOperation::NonBlockingLockExclusive, FlockOperation::LockExclusive);
        self.trees().lock((exclusive, wait), waiting).map(Using)
    }
}

/// A lock belongs to an open file: this one ends with what is given back, however that ends.
pub(super) fn lock(
    directory: &OwnedFd,
    path: &Path,
    (now, wait): (FlockOperation, FlockOperation),
    waiting: impl FnOnce(),
) -> Result<OwnedFd, Error> {
    if let Some(lock) = try_lock(directory, path, now)? {
        return Ok(lock);
    }
    waiting();
    let failed = |errno| Error::errno("lock", path)(errno);
    let lock = rustix::fs::openat(directory, ".", DIRECTORY, Mode::empty()).map_err(failed)?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, wait)).map_err(failed)?;
    Ok(lock)
}

/// The same without waiting; `None`: somebody else has it.
pub(super) fn try_lock(directory: &OwnedFd, path: &Path, now: FlockOperation) -> Result<Option<OwnedFd>, Error> {
    let failed = |errno| Error::errno("lock", path)(errno);
    let lock = rustix::fs::openat(directory, ".", DIRECTORY, Mode::empty()).map_err(failed)?;
    match rustix::fs::flock(&lock, now) {
        Ok(()) => Ok(Some(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(failed(errno)),
    }
}
