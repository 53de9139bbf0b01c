//! Mount trees without a place in the file system (open_tree(2)): made, copied, and attached to targets that were resolved before.

use casemate_confine::{At, Error};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, move_mount, open_tree,
};
use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};

/// No writes through this mount.
pub const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;
/// Files do not execute.
pub const NO_EXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
/// Set-id bits and file capabilities do nothing.
pub const NO_SUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
/// Also no device node opens. Every mount but those of single device nodes has this.
pub const SAFE: MountAttrFlags = NO_SUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// The flag where the condition holds.
pub fn when(flag: MountAttrFlags, condition: bool) -> MountAttrFlags {
    if condition { flag } else { MountAttrFlags::empty() }
}

/// A new file system with these options.
pub fn make(kind: &str, options: &[(&str, &dyn Display)], flags: MountAttrFlags) -> Result<OwnedFd, Error> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).at(kind)?;
    for (key, value) in options {
        let value = value.to_string();
        fsconfig_set_string(&context, *key, &value).at(format_args!("{kind} with {key}={value}"))?;
    }
    fsconfig_create(&context).at(kind)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags).at(kind)
}

/// A tmpfs of this size in bytes, this many inodes and this octal mode.
pub fn tmpfs(size: u64, inodes: u64, mode: &str, flags: MountAttrFlags) -> Result<OwnedFd, Error> {
    make("tmpfs", &[("size", &size), ("nr_inodes", &inodes), ("mode", &mode)], flags)
}

/// open_tree(2) on a descriptor.
const COPY: OpenTreeFlags =
    OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC).union(OpenTreeFlags::AT_EMPTY_PATH);

/// A copy of the mount at `tree`.
pub fn copy(tree: impl AsFd, name: &str) -> Result<OwnedFd, Error> {
    open_tree(tree, "", COPY).at(name)
}

/// A copy of the mount at `tree` and of all mounts below it.
pub fn copy_all(tree: impl AsFd, name: &str) -> Result<OwnedFd, Error> {
    open_tree(tree, "", COPY | OpenTreeFlags::AT_RECURSIVE).at(name)
}

/// Attaches a detached tree to an open directory or file.
pub fn attach(mount: impl AsFd, place: impl AsFd, name: &str) -> Result<(), Error> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", place, "", flags).at(name)
}
