//! Two views of one procfs: a private one for our own writes, which nothing can cover, and the one that the payload sees.

use super::tree::{self, NO_EXEC, READ_ONLY, SAFE};
use super::{Room, paths};
use casemate_confine::{At, Fault};
use casemate_sys::mount::set_attributes;
use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, mkdirat, openat2};
use rustix::io::Errno;
use std::os::fd::{BorrowedFd, OwnedFd};

pub fn private(room: &mut Room<'_>) -> Result<(), Fault> {
    let mount = tree::make("proc", &[], SAFE | NO_EXEC).map_err(covered)?;
    // CVE-2019-16884, CVE-2019-19921: what is not procfs takes writes that then mean nothing.
    if fstatfs(&mount).at("proc")?.f_type != PROC_SUPER_MAGIC {
        return Err(Fault::not_enforceable("proc is not procfs"));
    }
    // It stays attached to the stage, and so leaves with the old root: a mount that is closed unattached costs a grace period.
    mkdirat(room.stage()?, "proc", Mode::from_raw_mode(0o555)).at("stage")?;
    tree::attach(&mount, &paths::directory(room.stage()?, "proc")?, "stage")?;
    room.made.procfs = Some(mount);
    Ok(())
}

/// In a user namespace the kernel gives no view of what it thinks was hidden from it (mount_too_revealing).
fn covered(fault: Fault) -> Fault {
    fault.hint("is the host's /proc or /sys partly covered?").as_not_enforceable()
}

pub fn show(room: &mut Room<'_>) -> Result<(), Fault> {
    let mount = if room.job.rootfs.proc.subset_pid {
        tree::make("proc", &[("subset", &"pid")], SAFE | NO_EXEC).map_err(covered)?
    } else {
        tree::copy(room.procfs()?, "proc")?
    };
    tree::attach(&mount, &paths::directory(room.root()?, "proc")?, "/proc")?;
    if room.job.rootfs.sysfs {
        // It shows the interfaces of the container's own network namespace, and the host's devices.
        let mount = tree::make("sysfs", &[], SAFE | NO_EXEC | READ_ONLY).map_err(covered)?;
        tree::attach(&mount, &paths::directory(room.root()?, "sys")?, "/sys")?;
    }
    Ok(())
}

pub fn sysctls(room: &mut Room<'_>) -> Result<(), Fault> {
    for (key, value) in &room.job.network.sysctls {
        let written = write(room.procfs()?, &format!("sys/{}", key.replace('.', "/")), value);
        written.map_err(Fault::as_not_enforceable)?;
    }
    Ok(())
}

/// Writes one file of the private procfs with one system call.
pub fn write(procfs: BorrowedFd<'_>, path: &str, value: &str) -> Result<(), Fault> {
    // RESOLVE_NO_XDEV: nothing mounted over procfs can take the write.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    openat2(procfs, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)
        .and_then(|file| rustix::io::write(&file, value.as_bytes()))
        .and_then(|written| if written == value.len() { Ok(()) } else { Err(Errno::IO) })
        .at(format_args!("/proc/{path} = {}", value.trim_end().replace('\n', ", ")))
}

pub fn mask(room: &mut Room<'_>) -> Result<(), Fault> {
    let root = room.root()?;
    for path in &room.job.rootfs.proc.read_only {
        if let Some(target) = existing(root, path)? {
            let copy = tree::copy(&target, path)?;
            set_attributes(&copy, READ_ONLY, true).at(path)?;
            tree::attach(&copy, &target, path)?;
        }
    }
    // Attached at the first masked directory and copied for every other.
    let mut empty: Option<OwnedFd> = None;
    for path in &room.job.rootfs.proc.masked {
        let Some(target) = existing(root, path)? else { continue };
        let directory = paths::is_directory(&target).at(path)?;
        match &empty {
            _ if !directory => {
                let null = paths::beneath(root, "dev/null", OFlags::PATH).at("/dev/null")?;
                tree::attach(&tree::copy(&null, path)?, &target, path)?;
            }
            Some(empty) => tree::attach(&tree::copy(empty, path)?, &target, path)?,
            None => {
                let cover = tree::tmpfs(4096, 1, "555", SAFE | NO_EXEC | READ_ONLY)?;
                tree::attach(&cover, &target, path)?;
                empty = Some(cover);
            }
        }
    }
    Ok(())
}

/// A path that this kernel does not have needs no hiding.
fn existing(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Fault> {
    match paths::beneath(root, path.trim_start_matches('/'), OFlags::PATH) {
        Err(Errno::NOENT) => Ok(None),
        found => found.map(Some).at(path),
    }
}
