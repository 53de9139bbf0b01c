//! Opening and making files and directories below a root, through no symbolic link.

use casemate_confine::{At, Error};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat, openat2};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Opens a directory to resolve paths below it or to mount on it.
pub const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory of the state directory or of cgroupfs, as [`DIRECTORY`].
pub fn open_directory(path: &Path) -> Result<OwnedFd, Error> {
    open(path, DIRECTORY, Mode::empty()).at(path.display())
}

/// Makes a directory, unless something of this name exists.
pub fn make_directory(parent: impl AsFd, name: &str, mode: u32) -> Result<(), Errno> {
    match mkdirat(parent, name, Mode::from_raw_mode(mode)) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Creates a file and opens it for writing; EEXIST if something of this name exists.
pub fn create(parent: impl AsFd, name: &str, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::from_raw_mode(mode))
}

/// The directory that a relative path lies in, and its last component.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

/// Whether the descriptor is open on a directory.
pub fn is_directory(fd: impl AsFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode).is_dir())
}

/// Opens a relative path below `root` without following any link.
pub fn beneath(root: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Opens the directory at a relative path; creates the components that the image lacks.
pub fn directory(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Error> {
    match beneath(root, path, DIRECTORY) {
        Err(Errno::NOENT) => {}
        found => return explain(found, path),
    }
    let mut here = beneath(root, ".", DIRECTORY).at("/")?;
    for component in path.split('/').filter(|c| !c.is_empty()) {
        make_directory(&here, component, 0o755).at(format_args!("/{path}"))?;
        here = explain(beneath(&here, component, DIRECTORY), path)?;
    }
    Ok(here)
}

fn explain(found: Result<OwnedFd, Errno>, path: &str) -> Result<OwnedFd, Error> {
    match found {
        Err(Errno::LOOP) => Err(Error::container(format_args!(
            "/{path} passes a symbolic link in the image; name the place that the link points to"
        ))),
        Err(Errno::NOTDIR) => Err(Error::container(format_args!("/{path} is not a directory in the image"))),
        other => other.at(format_args!("/{path}")),
    }
}

/// Opens the file at a relative path to mount on it; creates an empty one where the image lacks it.
pub fn file(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Error> {
    match beneath(root, path, OFlags::PATH) {
        Err(Errno::NOENT) => {}
        found => return explain(found, path),
    }
    let (parent, name) = split(path);
    create(directory(root, parent)?, name, 0o644).at(format_args!("/{path}"))?;
    explain(beneath(root, path, OFlags::PATH), path)
}

/// Opens a path of the host, once, following no link (CVE-2021-30465).
pub fn host_path(path: &str) -> Result<OwnedFd, Error> {
    let root = open_directory(Path::new("/"))?;
    match beneath(root, path.trim_start_matches('/'), OFlags::PATH) {
        Err(Errno::LOOP) => {
            Err(Error::container(format_args!("{path} passes a symbolic link on the host; name the place itself")))
        }
        found => found.at(format_args!("{path} on the host")),
    }
}
