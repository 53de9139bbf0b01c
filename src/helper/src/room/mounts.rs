//! tmpfs, volumes and binds, attached to the places that were resolved before.

use super::{Room, identity, procfs};
use crate::fault::{At, Fault};
use casemate_sys::mount::{Attributes, set_attributes};
use casemate_wire::Mount;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, open_tree,
};
use std::os::fd::{AsFd, OwnedFd};

/// A detached tmpfs with these options.
pub fn tmpfs(options: &[(&str, &str)], flags: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

pub fn attach(room: &mut Room<'_>) -> Result<(), Fault> {
    for (mount, target) in room.job.mounts.iter().zip(&room.targets) {
        let name = mount.target();
        let tree = match (mount, &target.source) {
            (Mount::Tmpfs { size, inodes, mode, exec, .. }, _) => {
                fresh(room, (*size, *inodes, *mode), *exec).at(name)?
            }
            (Mount::Volume { read_only, exec, .. } | Mount::Bind { read_only, exec, .. }, Some(source)) => {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE
                    | OpenTreeFlags::OPEN_TREE_CLOEXEC
                    | OpenTreeFlags::AT_EMPTY_PATH
                    | OpenTreeFlags::AT_RECURSIVE;
                let tree = open_tree(source, "", flags).at(name)?;
                let attributes = Attributes::NO_SUID
                    .and(Attributes::NO_DEV, true)
                    .and(Attributes::NO_EXEC, !exec)
                    .and(Attributes::READ_ONLY, *read_only);
                set_attributes(tree.as_fd(), attributes, true).at(name)?;
                tree
            }
            (Mount::Volume { .. } | Mount::Bind { .. }, None) => return Err(Fault::refused(name)),
        };
        procfs::attach(&tree, &target.place, name)?;
    }
    Ok(())
}

fn fresh(room: &Room<'_>, (size, inodes, mode): (u64, u64, u32), exec: bool) -> Result<OwnedFd, Errno> {
    let (uid, gid) = identity::ids_in_a(room);
    let options = [
        ("size", size.to_string()),
        ("nr_inodes", inodes.to_string()),
        ("mode", format!("{mode:o}")),
        ("uid", uid.as_raw().to_string()),
        ("gid", gid.as_raw().to_string()),
    ];
    let options: Vec<(&str, &str)> = options.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let mut flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    if !exec {
        flags |= MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    tmpfs(&options, flags)
}
