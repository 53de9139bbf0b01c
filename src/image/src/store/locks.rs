//! The two locks of a store, both flock(2) of a directory. The writer's lock is on the records: one process changes the store at a
//! time. The reference lock is on the inventories: shared while a process uses images that no applied file names yet, exclusive
//! while one removes images. A process that needs both takes the reference lock first. A lock ends with the value that holds it.

use crate::error::Error;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The reference lock. Shared: no image is removed. Exclusive: no process uses an image that no applied file names yet.
#[derive(Debug)]
#[must_use]
pub struct ReferenceLock(#[expect(dead_code, reason = "held, never read: closing it ends the lock")] OwnedFd);

impl ReferenceLock {
    pub(super) const fn new(lock: OwnedFd) -> Self {
        Self(lock)
    }
}

/// How a lock is shared with other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    Shared,
    Exclusive,
}

/// Locks a directory, waiting for it. `waiting` is called when another process has the lock.
pub(super) fn lock(
    directory: &OwnedFd,
    path: &Path,
    sharing: Sharing,
    waiting: impl FnOnce(),
) -> Result<OwnedFd, Error> {
    if let Some(lock) = try_lock(directory, path, sharing)? {
        return Ok(lock);
    }
    waiting();
    let operation = match sharing {
        Sharing::Shared => FlockOperation::LockShared,
        Sharing::Exclusive => FlockOperation::LockExclusive,
    };
    let lock = open(directory, path)?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, operation)).map_err(Error::errno("lock", path))?;
    Ok(lock)
}

/// Locks a directory without waiting; `None` where another process has the lock.
pub(super) fn try_lock(directory: &OwnedFd, path: &Path, sharing: Sharing) -> Result<Option<OwnedFd>, Error> {
    let operation = match sharing {
        Sharing::Shared => FlockOperation::NonBlockingLockShared,
        Sharing::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    let lock = open(directory, path)?;
    match rustix::fs::flock(&lock, operation) {
        Ok(()) => Ok(Some(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(Error::errno("lock", path)(errno)),
    }
}

/// flock(2) belongs to an open file description, so each lock opens the directory anew.
fn open(directory: &OwnedFd, path: &Path) -> Result<OwnedFd, Error> {
    rustix::fs::openat(directory, ".", DIRECTORY, Mode::empty()).map_err(Error::errno("lock", path))
}
