//! `/dev`: a fresh tmpfs, six nodes bound from the host, an own devpts, shm, and the devices that the job names.

use super::{Room, mounts, paths, procfs};
use crate::fault::{At, Fault};
use casemate_sys::mount::{Attributes, set_attributes};
use rustix::fs::{FileType, Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
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

/// The part that all containers share: made once, never written again, copied for each start.
///
/// A copy shares its tmpfs with the others; it is attached read-only, and what differs is mounted on its empty directories.
pub fn template() -> Result<OwnedFd, Fault> {
    let dev =
        mounts::tmpfs(&[("size", "65536"), ("nr_inodes", "64"), ("mode", "755")], flags()).at("/dev")?;
    for &(name, major, minor) in NODES {
        let source = node(&format!("/dev/{name}"))?;
        let number = rustix::fs::fstat(&source).at(name)?.st_rdev;
        // The host's own /dev may have been tampered with: CVE-2025-31133 and its kind.
        if (rustix::fs::major(number), rustix::fs::minor(number)) != (major, minor) {
            return Err(Fault::not_enforceable(format_args!(
                "/dev/{name} on the host is not device {major}:{minor}"
            )));
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

/// A detached copy of the template for one start. Only the template's own mount namespace can make it.
pub fn copy(template: BorrowedFd<'_>) -> Result<OwnedFd, Fault> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(template, "", flags).at("/dev")
}

fn flags() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

pub fn build(room: &mut Room<'_>) -> Result<(), Fault> {
    let place = paths::directory(room.root()?, "dev")?;
    let move_flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(room.dev, "", &place, "", move_flags).at("/dev")?;
    let dev = room.dev;
    procfs::attach(&pts()?, &paths::directory(dev, "pts")?, "/dev/pts")?;
    if room.job.shm_size > 0 {
        let size = room.job.shm_size.to_string();
        let shm = mounts::tmpfs(&[("size", &size), ("nr_inodes", "65536"), ("mode", "1777")], flags())
            .at("/dev/shm")?;
        procfs::attach(&shm, &paths::directory(dev, "shm")?, "/dev/shm")?;
    }
    for device in &room.job.devices {
        let name = device.target.trim_start_matches("/dev/");
        bind(&node(&device.source)?, dev, name, device.write)?;
    }
    set_attributes(dev, Attributes::READ_ONLY, false).at("/dev")
}

/// A detached mount of one device node of the host.
fn node(path: &str) -> Result<OwnedFd, Fault> {
    let source = paths::host_path(path)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&source).at(path)?.st_mode);
    if !matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
        return Err(Fault::container(format_args!("{path} on the host is not a device node")));
    }
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(&source, "", flags).at(path)
}

fn bind(node: &OwnedFd, dev: BorrowedFd<'_>, name: &str, write: bool) -> Result<(), Fault> {
    let attributes = Attributes::NO_SUID.and(Attributes::NO_EXEC, true).and(Attributes::READ_ONLY, !write);
    set_attributes(node.as_fd(), attributes, false).at(name)?;
    let (parent, file) = name.rsplit_once('/').unwrap_or((".", name));
    let parent = paths::directory(dev, parent)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = openat(&parent, file, flags, Mode::from_raw_mode(0o666)).at(name)?;
    procfs::attach(node, &place, name)
}

fn pts() -> Result<OwnedFd, Fault> {
    let context = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC).at("devpts")?;
    for (key, value) in [("ptmxmode", "0666"), ("mode", "0620"), ("max", "1024")] {
        fsconfig_set_string(&context, key, value).at(format_args!("devpts {key}"))?;
    }
    fsconfig_create(&context).at("devpts")?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags).at("devpts")
}
