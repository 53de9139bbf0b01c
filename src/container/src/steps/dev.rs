//! `/dev`: a fresh tmpfs, six nodes bound from the host, an own devpts, shm, and the devices that the job names.

use super::Start;
use crate::paths;
use crate::tree::{self, NO_EXEC, NO_SUID, READ_ONLY, SAFE, when};
use casemate_confine::{At, Error};
use casemate_sys::mount::set_attributes;
use rustix::fs::{FileType, Mode, fstat, major, minor, mkdirat, symlinkat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Name, major and minor of the nodes that every program may expect (Linux devices.txt, major 1 and 5).
const NODES: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Mounts a `/dev` at this place, to which the step `dev` adds each container's own mounts.
///
/// The helper makes one and never writes to it again; [`tree::copy_all`] copies it for each start. The copies share one tmpfs:
/// they are attached read-only, and mounts of a container lie on its empty directories. The helper's stays attached: before Linux
/// 6.15 nothing can be mounted on a detached tree, and a detached tree cannot be copied.
pub fn make(place: impl AsFd) -> Result<OwnedFd, Error> {
    let dev = tree::tmpfs(65536, 64, "755", SAFE | NO_EXEC)?;
    tree::attach(&dev, place, "/dev")?;
    for &(name, number, second) in NODES {
        let source = node(&format!("/dev/{name}"))?;
        let found = fstat(&source).at(name)?.st_rdev;
        // The host's own /dev may have been tampered with (CVE-2025-31133).
        if (major(found), minor(found)) != (number, second) {
            let text = format_args!("/dev/{name} on the host is not device {number}:{second}");
            return Err(Error::not_enforceable(text));
        }
        bind(&source, dev.as_fd(), name, true)?;
    }
    for (content, name) in LINKS {
        symlinkat(*content, &dev, *name).at(name)?;
    }
    for name in ["pts", "shm"] {
        mkdirat(&dev, name, Mode::from_raw_mode(0o755)).at(name)?;
    }
    Ok(dev)
}

pub fn build(start: &mut Start<'_>) -> Result<(), Error> {
    let place = paths::directory(start.root()?, "dev")?;
    let dev = match start.dev.take() {
        Some(copy) => tree::attach(&copy, &place, "/dev").map(|()| copy)?,
        None => make(&place)?,
    };
    let dev = dev.as_fd();
    let pts = tree::make("devpts", &[("ptmxmode", &"0666"), ("mode", &"0620"), ("max", &1024)], NO_SUID | NO_EXEC)?;
    tree::attach(&pts, &paths::directory(dev, "pts")?, "/dev/pts")?;
    if start.job.rootfs.shm_size > 0 {
        let shm = tree::tmpfs(start.job.rootfs.shm_size, 65536, "1777", SAFE | NO_EXEC)?;
        tree::attach(&shm, &paths::directory(dev, "shm")?, "/dev/shm")?;
    }
    for device in &start.job.rootfs.devices {
        bind(&node(&device.source)?, dev, device.target.trim_start_matches("/dev/"), device.write)?;
    }
    set_attributes(dev, READ_ONLY, false).at("/dev")
}

/// A detached mount of one device node of the host.
fn node(path: &str) -> Result<OwnedFd, Error> {
    let source = paths::host_path(path)?;
    let kind = FileType::from_raw_mode(fstat(&source).at(path)?.st_mode);
    if !matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
        return Err(Error::container(format_args!("{path} on the host is not a device node")));
    }
    tree::copy(&source, path)
}

fn bind(node: &OwnedFd, dev: BorrowedFd<'_>, name: &str, write: bool) -> Result<(), Error> {
    set_attributes(node, NO_SUID | NO_EXEC | when(READ_ONLY, !write), false).at(name)?;
    let (parent, file) = paths::split(name);
    let place = paths::create(&paths::directory(dev, parent)?, file, 0o666).at(name)?;
    tree::attach(node, &place, name)
}
