//! Paths of the container, resolved on the bare root: beneath it, through no symbolic link, before anything is mounted there.

use super::Room;
use crate::volumes;
use casemate_confine::{At, Fault};
use casemate_wire::Mount;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat, openat2, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How a directory is opened that is only a place.
pub const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where a mount goes, and what is bound there.
pub struct Target {
    /// The source of a bind or a volume.
    pub source: Option<OwnedFd>,
    /// The place in the root.
    pub place: OwnedFd,
}

/// Opens a directory of our own, as a place.
pub fn open_directory(path: &Path) -> Result<OwnedFd, Fault> {
    open(path, DIRECTORY, Mode::empty()).at(path.display())
}

/// Makes a directory where there is none.
pub fn make_directory(parent: impl AsFd, name: &str, mode: u32) -> Result<(), Errno> {
    match mkdirat(parent, name, Mode::from_raw_mode(mode)) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Makes a file where nothing is, and opens it for writing.
pub fn create(parent: impl AsFd, name: &str, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::from_raw_mode(mode))
}

/// The directory that a relative path lies in, and its last component.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

/// Whether it is a directory.
pub fn is_directory(fd: impl AsFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode).is_dir())
}

/// Opens a relative path below `root` without following any link.
pub fn beneath(root: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// The directory at a relative path; made, component by component, where the image lacks it.
pub fn directory(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Fault> {
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
fn file(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Fault> {
    match beneath(root, path, OFlags::PATH) {
        Err(Errno::NOENT) => {}
        found => return explain(found, path),
    }
    let (parent, name) = split(path);
    create(directory(root, parent)?, name, 0o644).at(format_args!("/{path}"))?;
    explain(beneath(root, path, OFlags::PATH), path)
}

pub fn targets(room: &mut Room<'_>) -> Result<(), Fault> {
    for mount in &room.job.rootfs.mounts {
        let source = match mount {
            Mount::Tmpfs { .. } => None,
            Mount::Volume { name, .. } => Some(volumes::open_or_make(&room.realm.state, name, room.ids_in_a())?),
            Mount::Bind { source, .. } => Some(host_path(source)?),
        };
        let path = mount.target().trim_start_matches('/');
        let on_directory = source.as_ref().map_or(Ok(true), is_directory).at(mount.target())?;
        let place = if on_directory { directory(room.root()?, path)? } else { file(room.root()?, path)? };
        room.made.targets.push(Target { source, place });
    }
    Ok(())
}

/// Opens a path of the host, once, following no link (CVE-2021-30465 and its kind).
pub fn host_path(path: &str) -> Result<OwnedFd, Fault> {
    let root = open_directory(Path::new("/"))?;
    match beneath(root, path.trim_start_matches('/'), OFlags::PATH) {
        Err(Errno::LOOP) => {
            Err(Fault::container(format_args!("{path} passes a symbolic link on the host; name the place itself")))
        }
        found => found.at(format_args!("{path} on the host")),
    }
}

pub fn files(room: &mut Room<'_>) -> Result<(), Fault> {
    let network = &room.job.network;
    let hostname = format!("{}\n", network.hostname);
    let etc = directory(room.root()?, "etc")?;
    let files = [
        ("hosts", network.hosts.as_slice()),
        ("hostname", hostname.as_bytes()),
        ("resolv.conf", network.resolv_conf.as_slice()),
    ];
    for (name, content) in files {
        // What the image has there, a link above all, is replaced and never followed.
        match unlinkat(&etc, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).at(format_args!("/etc/{name}")),
        }
        let file = create(&etc, name, 0o644).at(format_args!("/etc/{name}"))?;
        File::from(file).write_all(content).at(format_args!("/etc/{name}"))?;
    }
    Ok(())
}

pub fn workdir(room: &mut Room<'_>) -> Result<(), Fault> {
    let path = room.job.process.cwd.trim_start_matches('/');
    // A link of the image may lead there, as long as it stays in the root; only a missing directory is made.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat2(room.root()?, if path.is_empty() { "." } else { path }, flags, Mode::empty(), resolve) {
        Err(Errno::NOENT) => directory(room.root()?, path).map(drop),
        other => other.map(drop).at(format_args!("/{path}")),
    }
}
