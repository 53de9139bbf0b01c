//! Two views of one procfs: a private one for our own writes, which nothing can cover, and the one that the payload sees.

use super::Start;
use crate::paths;
use crate::tree::{self, NO_EXEC, READ_ONLY, SAFE};
use casemate_confine::{At, Error};
use casemate_sys::mount::set_attributes;
use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, mkdirat, openat2};
use rustix::io::Errno;
use std::os::fd::{BorrowedFd, OwnedFd};

pub fn private(start: &mut Start<'_>) -> Result<(), Error> {
    let mount = tree::make("proc", &[], SAFE | NO_EXEC).map_err(covered)?;
    // CVE-2019-16884, CVE-2019-19921: another file system would take the writes without effect.
    if fstatfs(&mount).at("proc")?.f_type != PROC_SUPER_MAGIC {
        return Err(Error::not_enforceable("proc is not procfs"));
    }
    // Attached to the stage, so that it goes with the old root: closing a detached mount costs an RCU grace period.
    mkdirat(start.stage()?, "proc", Mode::from_raw_mode(0o555)).at("stage")?;
    tree::attach(&mount, &paths::directory(start.stage()?, "proc")?, "stage")?;
    start.state.procfs = Some(mount);
    Ok(())
}

/// In a user namespace the kernel refuses a new procfs or sysfs where the visible one is partly covered (mount_too_revealing).
fn covered(error: Error) -> Error {
    error.hint("is the host's /proc or /sys partly covered?").as_not_enforceable()
}

pub fn show(start: &mut Start<'_>) -> Result<(), Error> {
    let mount = if start.job.rootfs.proc.subset_pid {
        tree::make("proc", &[("subset", &"pid")], SAFE | NO_EXEC).map_err(covered)?
    } else {
        tree::copy(start.procfs()?, "proc")?
    };
    tree::attach(&mount, &paths::directory(start.root()?, "proc")?, "/proc")?;
    if start.job.rootfs.sysfs {
        // Shows the interfaces of the container's network namespace, and the host's devices.
        let mount = tree::make("sysfs", &[], SAFE | NO_EXEC | READ_ONLY).map_err(covered)?;
        tree::attach(&mount, &paths::directory(start.root()?, "sys")?, "/sys")?;
    }
    Ok(())
}

pub fn sysctls(start: &mut Start<'_>) -> Result<(), Error> {
    for (key, value) in &start.job.network.sysctls {
        let written = write(start.procfs()?, &format!("sys/{}", key.replace('.', "/")), value);
        written.map_err(Error::as_not_enforceable)?;
    }
    Ok(())
}

/// Writes one file of the private procfs with one system call.
pub fn write(procfs: BorrowedFd<'_>, path: &str, value: &str) -> Result<(), Error> {
    // RESOLVE_NO_XDEV: no mount over procfs can receive the write.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    openat2(procfs, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)
        .and_then(|file| rustix::io::write(&file, value.as_bytes()))
        .and_then(|written| if written == value.len() { Ok(()) } else { Err(Errno::IO) })
        .at(format_args!("/proc/{path} = {}", value.trim_end().replace('\n', ", ")))
}

pub fn mask(start: &mut Start<'_>) -> Result<(), Error> {
    let root = start.root()?;
    for path in &start.job.rootfs.proc.read_only {
        if let Some(target) = existing(root, path)? {
            let copy = tree::copy(&target, path)?;
            set_attributes(&copy, READ_ONLY, true).at(path)?;
            tree::attach(&copy, &target, path)?;
        }
    }
    let null = paths::beneath(root, "dev/null", OFlags::PATH).at("/dev/null")?;
    // Attached at the first masked directory and copied for every other.
    let mut empty: Option<OwnedFd> = None;
    for path in &start.job.rootfs.proc.masked {
        let Some(target) = existing(root, path)? else { continue };
        let directory = paths::is_directory(&target).at(path)?;
        match &empty {
            _ if !directory => tree::attach(&tree::copy(&null, path)?, &target, path)?,
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
fn existing(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Error> {
    match paths::beneath(root, path.trim_start_matches('/'), OFlags::PATH) {
        Err(Errno::NOENT) => Ok(None),
        found => found.map(Some).at(path),
    }
}
