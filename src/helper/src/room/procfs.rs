//! Two views of one procfs: a private one for our own writes, which nothing can cover, and the one that the payload sees.

use super::{Room, paths};
use crate::fault::{At, Fault};
use casemate_sys::mount::{Attributes, set_attributes};
use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, mkdirat, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

fn mount_flags() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

fn procfs(subset_pid: bool) -> Result<OwnedFd, Errno> {
    fresh("proc", if subset_pid { Some(("subset", "pid")) } else { None })
}

fn fresh(kind: &str, option: Option<(&str, &str)>) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if let Some((key, value)) = option {
        fsconfig_set_string(&context, key, value)?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, mount_flags())
}

pub fn private(room: &mut Room<'_>) -> Result<(), Fault> {
    let mount =
        procfs(false).at("proc (is the host's /proc partly covered?)").map_err(Fault::as_not_enforceable)?;
    // CVE-2019-16884, CVE-2019-19921: what is not procfs takes writes that then mean nothing.
    if fstatfs(&mount).at("proc")?.f_type != PROC_SUPER_MAGIC {
        return Err(Fault::not_enforceable("proc is not procfs"));
    }
    // It stays attached to the stage, and so leaves with the old root: a mount that is closed unattached costs a grace period.
    mkdirat(room.stage()?, "proc", Mode::from_raw_mode(0o555)).at("stage")?;
    attach(&mount, &paths::directory(room.stage()?, "proc")?, "stage")?;
    room.procfs = Some(mount);
    Ok(())
}

pub fn show(room: &mut Room<'_>) -> Result<(), Fault> {
    let mount = if room.job.proc.subset_pid {
        procfs(true).at("proc with subset=pid").map_err(Fault::as_not_enforceable)?
    } else {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        open_tree(room.procfs()?, "", flags).at("proc")?
    };
    let target = paths::directory(room.root()?, "proc")?;
    attach(&mount, &target, "/proc")?;
    if room.job.sysfs {
        // It shows the interfaces of the container's own network namespace, and the host's devices.
        let mount = fresh("sysfs", None)
            .at("sysfs (is the host's /sys partly covered?)")
            .map_err(Fault::as_not_enforceable)?;
        set_attributes(mount.as_fd(), Attributes::READ_ONLY, false).at("sysfs")?;
        attach(&mount, &paths::directory(room.root()?, "sys")?, "/sys")?;
    }
    Ok(())
}

/// Attaches a detached mount to a target that was resolved before.
pub fn attach(mount: &OwnedFd, target: &OwnedFd, name: &str) -> Result<(), Fault> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags).at(name)
}

pub fn sysctls(room: &mut Room<'_>) -> Result<(), Fault> {
    let procfs = room.procfs()?;
    for (key, value) in &room.job.sysctls {
        write(procfs, &format!("sys/{}", key.replace('.', "/")), value.as_bytes())
            .at(format_args!("{key} = {value}"))
            .map_err(Fault::as_not_enforceable)?;
    }
    Ok(())
}

/// Writes one file of the private procfs with one system call.
pub fn write(procfs: BorrowedFd<'_>, path: &str, value: &[u8]) -> Result<(), Errno> {
    // RESOLVE_NO_XDEV: nothing mounted over procfs can take the write.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(procfs, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    if rustix::io::write(&file, value)? == value.len() { Ok(()) } else { Err(Errno::IO) }
}

pub fn mask(room: &mut Room<'_>) -> Result<(), Fault> {
    let root = room.root()?;
    for path in &room.job.proc.read_only {
        if let Some(target) = existing(root, path)? {
            let copy = clone_of(target.as_fd(), path)?;
            set_attributes(copy.as_fd(), Attributes::READ_ONLY, true).at(path)?;
            attach(&copy, &target, path)?;
        }
    }
    let mut empty: Option<OwnedFd> = None;
    for path in &room.job.proc.masked {
        let Some(target) = existing(root, path)? else { continue };
        let directory = rustix::fs::fstat(&target).at(path)?.st_mode & 0o170_000 == 0o040_000;
        match (&empty, directory) {
            (None, true) => {
                let cover = empty_directory().at(path)?;
                attach(&cover, &target, path)?;
                empty = Some(cover);
            }
            (Some(cover), true) => attach(&clone_of(cover.as_fd(), path)?, &target, path)?,
            (_, false) => {
                let null = paths::beneath(root, "dev/null", OFlags::PATH).at("/dev/null")?;
                attach(&clone_of(null.as_fd(), path)?, &target, path)?;
            }
        }
    }
    Ok(())
}

/// One empty read-only tmpfs, copied for every masked directory.
fn empty_directory() -> std::io::Result<OwnedFd> {
    let mount =
        super::mounts::tmpfs(&[("size", "4096"), ("nr_inodes", "1"), ("mode", "555")], mount_flags())?;
    set_attributes(mount.as_fd(), Attributes::READ_ONLY, false)?;
    Ok(mount)
}

fn clone_of(tree: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Fault> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(tree, "", flags).at(name)
}

/// A path that this kernel does not have needs no hiding.
fn existing(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Fault> {
    match paths::beneath(root, path.trim_start_matches('/'), OFlags::PATH) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).at(path),
    }
}
