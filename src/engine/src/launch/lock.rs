//! Lock files of an instance, by flock(2): the kernel releases a lock when its process ends.

use super::{Error, Ids};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;

/// An open lock file. Its lock is released when it is dropped.
#[derive(Debug)]
pub struct Lock(OwnedFd);

impl Lock {
    /// Opens or creates the lock file in the run directory, without locking it.
    pub(super) fn open(run: &OwnedFd, path: &Path, name: &str, owner: Ids) -> Result<Self, Error> {
        let path = path.join(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(run, name, flags, Mode::from_raw_mode(0o600))
            .map_err(|errno| Error::at(&path, "open", errno))?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| Error::at(&path, "stat", errno))?;
        // The manager's user can write the directory: change the owner of a regular file without other links only.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
            return Err(Error::at(&path, "open", "not a regular file").remedy("remove it"));
        }
        if stat.st_uid != owner.uid {
            rustix::fs::fchown(&file, Some(owner.user()), Some(owner.group()))
                .map_err(|errno| Error::at(&path, "change the owner", errno))?;
        }
        Ok(Self(file))
    }

    /// Opens a directory as a lock, without locking it.
    pub(super) fn of_directory(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map(Self).map_err(|errno| Error::at(path, "open", errno))
    }

    /// Whether a process holds the exclusive lock. Creates no file.
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

    /// Takes the exclusive lock; waits for other holders.
    pub(super) fn exclusive(&self) -> Result<(), Errno> {
        rustix::io::retry_on_intr(|| rustix::fs::flock(&self.0, FlockOperation::LockExclusive))
    }

    /// Takes a shared lock; waits for the holder of the exclusive lock.
    pub(super) fn shared(&self) -> Result<(), Errno> {
        rustix::io::retry_on_intr(|| rustix::fs::flock(&self.0, FlockOperation::LockShared))
    }

    /// Takes the exclusive lock if no other process holds a lock. On `false` a shared lock that this process held is lost (flock(2)).
    pub(super) fn try_exclusive(&self) -> Result<bool, Errno> {
        match rustix::fs::flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Releases the lock.
    pub(super) fn release(&self) -> Result<(), Errno> {
        rustix::fs::flock(&self.0, FlockOperation::Unlock)
    }

    /// Writes this process's pid into the file, for error messages of others.
    pub(super) fn write_pid(&self) -> Result<(), Errno> {
        rustix::fs::ftruncate(&self.0, 0)?;
        rustix::io::pwrite(&self.0, format!("{}\n", std::process::id()).as_bytes(), 0)?;
        Ok(())
    }

    /// The pid in the file.
    pub(super) fn holder_pid(&self) -> Option<u32> {
        let mut bytes = [0; 16];
        let length = rustix::io::pread(&self.0, &mut bytes, 0).ok()?;
        std::str::from_utf8(bytes.get(..length)?).ok()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusive_lock_is_held_once_and_names_its_holder() {
        let base = tempfile::tempdir().unwrap();
        let run = rustix::fs::open(base.path(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let me = Ids { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        let open = || Lock::open(&run, base.path(), "manager.lock", me).unwrap();
        let first = open();
        assert!(first.try_exclusive().unwrap());
        first.write_pid().unwrap();
        let second = open();
        assert!(!second.try_exclusive().unwrap());
        assert!(Lock::is_held(&base.path().join("manager.lock")).unwrap());
        assert_eq!(second.holder_pid(), Some(std::process::id()));
        drop(first);
        for free in ["manager.lock", "other.lock"] {
            assert!(!Lock::is_held(&base.path().join(free)).unwrap(), "{free}");
        }
        assert!(second.try_exclusive().unwrap());
    }

    #[test]
    fn lock_file_with_a_link_is_refused() {
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
