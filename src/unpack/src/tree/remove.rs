//! Removing: what an entry replaces goes whole; what a whiteout names goes as far as this layer has not made it.
//! In the merged view the kernel turns a removal of a parent's file into the overlay's own whiteout.

use super::Tree;
use super::parents::Directory;
use crate::budget::Budget;
use crate::fail::system;
use crate::made::Mark;
use crate::names::Names;
use crate::path::join;
use casemate_wire::Failure;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

impl Tree {
    /// Removes whatever has this name; nothing having it is fine.
    pub(super) fn remove(&mut self, directory: &Directory, name: &[u8]) -> Result<(), Failure> {
        // The cached path may lead through what goes now.
        self.cache = None;
        remove_all(&directory.fd, name, &join(&directory.path, name), &self.budget)
    }

    /// Removes what the parents have under this name.
    pub(super) fn remove_lower(&mut self, directory: &Directory, name: &[u8]) -> Result<(), Failure> {
        let path = join(&directory.path, name);
        let Some(mark) = self.made.get(&path) else { return self.remove(directory, name) };
        let child = match open_directory(&directory.fd, name) {
            Ok(fd) => Directory { fd, path },
            // Not a directory: then this layer made all of it.
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(system("open directory", &path, errno)),
        };
        if mark == Mark::Passed {
            // The directory itself was the parents': it is as if made for the entries below it.
            reset(&child.fd).map_err(|errno| system("set owner and mode", &child.path, errno))?;
        }
        self.empty_lower(&child)
    }

    /// Removes everything in a directory that the parents have there.
    pub(super) fn empty_lower(&mut self, directory: &Directory) -> Result<(), Failure> {
        let fd = open_directory(&directory.fd, b".");
        let fd = fd.map_err(|errno| system("open directory", &directory.path, errno))?;
        let names = Names::read(&fd, &directory.path, &self.budget)?;
        names.iter().try_for_each(|name| self.remove_lower(directory, name))
    }
}

fn open_directory(directory: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

fn reset(fd: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::fchown(fd, Some(Uid::ROOT), Some(Gid::ROOT))?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(0o755))
}

/// As `rm -rf`. Bounded by the limit of descriptors: one a level.
fn remove_all(directory: &OwnedFd, name: &[u8], path: &[u8], budget: &Budget) -> Result<(), Failure> {
    let failed = |errno| system("remove", path, errno);
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Err(Errno::NOENT) => return Ok(()),
        result => return result.map_err(failed),
    }
    let inner = open_directory(directory, name).map_err(failed)?;
    for name in Names::read(&inner, path, budget)?.iter() {
        remove_all(&inner, name, path, budget)?;
    }
    rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR).map_err(failed)
}
