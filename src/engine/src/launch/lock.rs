//! Who may do what in one instance at a time, by flock(2): a lock ends with its process, however that ends.

use super::{Error, Ids};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;

/// An open lock file. Its lock is released when it is dropped.
#[derive(Debug)]
pub struct Lock(OwnedFd);

impl Lock {
    /// Opens the lock file in the run directory, made where it is missing; nothing is locked yet.
    pub(super) fn open(run: &OwnedFd, shown: &Path, name: &str, owner: Ids) -> Result<Self, Error> {
        let shown = shown.join(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(run, name, flags, Mode::from_raw_mode(0o600))
            .map_err(|errno| Error::at(&shown, "open", errno))?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| Error::at(&shown, "stat", errno))?;
        // The directory is the manager's: whatever lies there under this name is not given away unless it is plainly ours.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
            return Err(Error::at(&shown, "open", "not a plain file").remedy("remove it"));
        }
        if stat.st_uid != owner.uid {
            rustix::fs::fchown(&file, Some(owner.user()), Some(owner.group()))
                .map_err(|errno| Error::at(&shown, "give away", errno))?;
        }
        Ok(Self(file))
    }

    /// A directory as its own lock; nothing is locked yet.
    pub(super) fn of_directory(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map(Self).map_err(|errno| Error::at(path, "open", errno))
    }

    /// Whether somebody has it alone. Makes nothing.
    pub(super) fn is_held(path: &Path) -> Result<bool, Error> {
        let failed = |step| move |errno| Error::at(path, step, errno);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let lock = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => Self(file),
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(failed("open")(errno)),
        };
        match rustix::fs::flock(&lock.0, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(failed("lock")(errno)),
        }
    }

    /// Takes it alone, waiting for others.
    pub(super) fn alone(&self) -> Result<(), Errno> {
        rustix::io::retry_on_intr(|| rustix::fs::flock(&self.0, FlockOperation::LockExclusive))
    }

    /// Takes it beside others, waiting for one that has it alone.
    pub(super) fn shared(&self) -> Result<(), Errno> {
        rustix::io::retry_on_intr(|| rustix::fs::flock(&self.0, FlockOperation::LockShared))
    }

    /// Takes it alone if nobody else has it. A shared lock held before is lost when this says no.
    pub(super) fn try_alone(&self) -> Result<bool, Errno> {
        match rustix::fs::flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Lets go.
    pub(super) fn release(&self) -> Result<(), Errno> {
        rustix::fs::flock(&self.0, FlockOperation::Unlock)
    }

    /// Writes who holds it, for the message to the next one.
    pub(super) fn sign(&self) -> Result<(), Errno> {
        rustix::fs::ftruncate(&self.0, 0)?;
        rustix::io::pwrite(&self.0, format!("{}\n", std::process::id()).as_bytes(), 0)?;
        Ok(())
    }

    /// Who wrote last, if it is a number.
    pub(super) fn signature(&self) -> Option<u32> {
        let mut bytes = [0; 16];
        let length = rustix::io::pread(&self.0, &mut bytes, 0).ok()?;
        std::str::from_utf8(bytes.get(..length)?).ok()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_the_next_learns_who() {
        let base = tempfile::tempdir().unwrap();
        let run = rustix::fs::open(base.path(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let me = Ids { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        let open = || Lock::open(&run, base.path(), "manager.lock", me).unwrap();
        let first = open();
        assert!(first.try_alone().unwrap());
        first.sign().unwrap();
        let second = open();
        assert!(!second.try_alone().unwrap());
        assert!(Lock::is_held(&base.path().join("manager.lock")).unwrap());
        assert_eq!(second.signature(), Some(std::process::id()));
        drop(first);
        for free in ["manager.lock", "other.lock"] {
            assert!(!Lock::is_held(&base.path().join(free)).unwrap(), "{free}");
        }
        assert!(second.try_alone().unwrap());
    }

    #[test]
    fn a_link_in_its_place_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let run = rustix::fs::open(base.path(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", base.path().join("l")).unwrap();
        std::fs::write(base.path().join("one"), "").unwrap();
        std::fs::hard_link(base.path().join("one"), base.path().join("h")).unwrap();
        for name in ["l", "h"] {
            assert!(Lock::open(&run, base.path(), name, Ids { uid: 0, gid: 0 }).is_err(), "{name}");
        }
    }
}
