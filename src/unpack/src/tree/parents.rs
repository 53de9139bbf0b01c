//! The directory that an entry belongs to, by the merged view: symbolic links in the way are followed below the root, what is
//! missing is made. With it comes its path free of links, which is how whiteouts know what this layer has made.

use super::Tree;
use super::named;
use crate::fail::system;
use crate::path::{follow, join, split};
use casemate_wire::Failure;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Names and links that one path may lead through, the links' own included. Bounds the recursion.
const MAX_STEPS: u32 = 1024;

/// An open directory.
pub struct Directory {
    /// Opened as a path.
    pub fd: OwnedFd,
    /// From the root, free of symbolic links; empty for the root.
    pub path: Vec<u8>,
}

impl Tree {
    /// The directory of this path, made with everything above it where it is missing.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<Rc<Directory>, Failure> {
        if let Some((known, directory)) = &self.cache
            && known == path
        {
            return Ok(Rc::clone(directory));
        }
        let mut steps = MAX_STEPS;
        let directory = Rc::new(self.find_or_make(path, &mut steps)?);
        self.made.pass(&directory.path)?;
        self.cache = Some((path.to_vec(), Rc::clone(&directory)));
        Ok(directory)
    }

    /// The directory of this path if it is there.
    pub(super) fn find(&self, path: &[u8]) -> Result<Option<Directory>, Failure> {
        // Nearly every path is free of links, and then it is its own name.
        match self.open_plain(path, OFlags::PATH) {
            Ok(fd) => return Ok(Some(Directory { fd, path: path.to_vec() })),
            Err(Errno::LOOP) => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR) => return Err(named(path, "not a directory")),
            Err(errno) => return Err(system("open directory", path, errno)),
        }
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        match rustix::fs::openat2(&self.root, path, directory_flags(OFlags::PATH), Mode::empty(), resolve) {
            Ok(fd) => {
                let path = real_path(&fd).map_err(|errno| system("name directory", path, errno))?;
                Ok(Some(Directory { fd, path }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR) => Err(named(path, "not a directory")),
            Err(Errno::LOOP) => Err(named(path, "symbolic links go in a circle")),
            Err(errno) => Err(system("open directory", path, errno)),
        }
    }

    /// Opens a directory whose path holds no symbolic link.
    pub(super) fn open_plain(&self, path: &[u8], how: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(&self.root, path, directory_flags(how), Mode::empty(), resolve)
    }

    fn find_or_make(&mut self, path: &[u8], steps: &mut u32) -> Result<Directory, Failure> {
        *steps = steps.checked_sub(1).ok_or_else(|| named(path, "leads through too many names and links"))?;
        if let Some(directory) = self.find(path)? {
            return Ok(directory);
        }
        let (above, name) = split(path);
        let above = self.find_or_make(above, steps)?;
        match rustix::fs::mkdirat(&above.fd, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => self.count(path)?,
            // It was not found and yet it is there: a link to what is not.
            Err(Errno::EXIST) => match rustix::fs::readlinkat(&above.fd, name, Vec::new()) {
                Ok(target) => return self.find_or_make(&follow(&above.path, target.to_bytes()), steps),
                Err(Errno::INVAL) => return Err(named(path, "not a directory")),
                Err(errno) => return Err(system("read link", path, errno)),
            },
            Err(errno) => return Err(system("make directory", path, errno)),
        }
        let path = join(&above.path, name);
        self.find(&path)?.ok_or_else(|| system("open directory", &path, Errno::NOENT))
    }
}

fn directory_flags(how: OFlags) -> OFlags {
    how | OFlags::DIRECTORY | OFlags::CLOEXEC
}

/// The kernel's own name of a directory, from the process's root, which is the layer's.
fn real_path(fd: &OwnedFd) -> Result<Vec<u8>, Errno> {
    rustix::process::fchdir(fd)?;
    let path = rustix::process::getcwd(Vec::new())?;
    // `(unreachable)/...` would mean that the directory lies outside the root.
    path.to_bytes().strip_prefix(b"/").map(<[u8]>::to_vec).ok_or(Errno::XDEV)
}
