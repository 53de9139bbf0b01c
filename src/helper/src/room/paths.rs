//! Paths of the container, resolved on the bare root: beneath it, through no symbolic link, before anything is mounted there.

use super::Room;
use crate::fault::{At, Fault};
use crate::volumes;
use casemate_wire::Mount;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, mkdirat, open, openat, openat2, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where a mount goes, and what is bound there.
pub struct Target {
    /// The source of a bind or a volume.
    pub source: Option<OwnedFd>,
    /// The place in the root.
    pub place: OwnedFd,
}

/// Opens a relative path below `root` without following any link.
pub fn beneath(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// The directory at a relative path; made, component by component, where the image lacks it.
pub fn directory(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Fault> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    match beneath(root, path, flags) {
        Err(Errno::NOENT) => {}
        found => return explain(found, path),
    }
    let mut here = beneath(root, ".", flags).at("/")?;
    for component in path.split('/').filter(|c| !c.is_empty()) {
        match mkdirat(&here, component, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).at(format_args!("/{path}")),
        }
        here = explain(beneath(here.as_fd(), component, flags), path)?;
    }
    Ok(here)
}

fn explain(found: Result<OwnedFd, Errno>, path: &str) -> Result<OwnedFd, Fault> {
    match found {
        Err(Errno::LOOP) => Err(Fault::container(format_args!(
            "/{path} passes a symbolic link in the image; name the place that the link points to"
        ))),
        Err(Errno::NOTDIR) => Err(Fault::container(format_args!("/{path} is not a directory in the image"))),
        other => other.at(format_args!("/{path}")),
    }
}

/// The file at a relative path, as a place to mount on; made empty where it is missing.
pub fn file(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Fault> {
    match beneath(root, path, OFlags::PATH) {
        Err(Errno::NOENT) => {}
        found => return explain(found, path),
    }
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let parent = directory(root, parent)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&parent, name, flags, Mode::from_raw_mode(0o644)).at(format_args!("/{path}"))?;
    explain(beneath(root, path, OFlags::PATH), path)
}

pub fn targets(room: &mut Room<'_>) -> Result<(), Fault> {
    for mount in &room.job.mounts {
        let source = match mount {
            Mount::Tmpfs { .. } => None,
            Mount::Volume { name, .. } => {
                Some(volumes::open_or_make(room.state, name, super::identity::ids_in_a(room))?)
            }
            Mount::Bind { source, .. } => Some(host_path(source)?),
        };
        let is_directory = match &source {
            Some(source) => rustix::fs::fstat(source).at(mount.target())?.st_mode & 0o170_000 == 0o040_000,
            None => true,
        };
        let path = mount.target().trim_start_matches('/');
        let place = if is_directory { directory(room.root()?, path)? } else { file(room.root()?, path)? };
        room.targets.push(Target { source, place });
    }
    Ok(())
}

/// Opens a path of the host, once, following no link (CVE-2021-30465 and its kind).
pub fn host_path(path: &str) -> Result<OwnedFd, Fault> {
    let root = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at("/")?;
    match beneath(root.as_fd(), path.trim_start_matches('/'), OFlags::PATH) {
        Err(Errno::LOOP) => Err(Fault::container(format_args!(
            "{path} passes a symbolic link on the host; name the place itself"
        ))),
        found => found.at(format_args!("{path} on the host")),
    }
}

pub fn files(room: &mut Room<'_>) -> Result<(), Fault> {
    for (path, content) in &room.job.files {
        let (parent, name) = path.trim_start_matches('/').rsplit_once('/').unwrap_or((".", path));
        let parent = directory(room.root()?, parent)?;
        // What the image has there, a link above all, is replaced and never followed.
        match unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).at(path),
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&parent, name, flags, Mode::from_raw_mode(0o644)).at(path)?;
        let mut rest = content.as_slice();
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest).at(path)?;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
    Ok(())
}

pub fn workdir(room: &mut Room<'_>) -> Result<(), Fault> {
    let path = room.job.process.cwd.trim_start_matches('/');
    // A link of the image may lead there, as long as it stays in the root; only a missing directory is made.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let inside = if path.is_empty() { "." } else { path };
    match openat2(
        room.root()?,
        inside,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    ) {
        Ok(_) => Ok(()),
        Err(Errno::NOENT) => directory(room.root()?, path).map(|_| ()),
        Err(errno) => Err(errno).at(format_args!("/{path}")),
    }
}
