//! The root file system: an overlay of the layers, sealed and pivoted into. Unpack uses the same overlay for its merged view.

use super::{Room, mounts};
use crate::fault::{At, Fault};
use crate::layers;
use casemate_sys::mount::{Attributes, set_attributes};
use casemate_wire::{Digest, Root};
use rustix::fs::{Mode, OFlags, mkdirat, open};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags, mount, move_mount, unmount};
use rustix::process::{chdir, fchdir, pivot_root};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What the overlay's upper directory of a read-only root takes: mount points and three small files.
pub const SKELETON: (u64, u64) = (2 << 20, 1024);

fn directory(path: &Path) -> Result<OwnedFd, Fault> {
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .at(path.display())
}

/// A tmpfs of this process's mount namespace, with the directories `root`, `upper` and `work`.
pub fn stage(state: &Path, (size, inodes): (u64, u64)) -> Result<OwnedFd, Fault> {
    let options = [("size", size.to_string()), ("nr_inodes", inodes.to_string()), ("mode", "700".to_owned())];
    let options: Vec<(&str, &str)> = options.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let stage = mounts::tmpfs(&options, flags).at("stage")?;
    let place = directory(&layers::stage_dir(state))?;
    let move_flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    // Overlay takes only directories of mounts that are attached in the mounter's namespace (CVE-2021-3732).
    move_mount(&stage, "", &place, "", move_flags).at("stage")?;
    for name in ["root", "upper", "work"] {
        mkdirat(&stage, name, Mode::from_raw_mode(0o755)).at(name)?;
    }
    Ok(stage)
}

/// Mounts the layers, bottom first, below `upper`'s directories `upper` and `work`, at `stage`'s `root`.
///
/// Layers are named by descriptor numbers relative to `/proc/self/fd`, so that 500 of them stay below the page that
/// mount(2) takes, and no name needs escaping.
pub fn overlay(
    state: &Path,
    layers: &[Digest],
    stage: BorrowedFd<'_>,
    upper: (BorrowedFd<'_>, &str),
) -> Result<OwnedFd, Fault> {
    let lower: Vec<OwnedFd> = layers
        .iter()
        .rev()
        .map(|layer| directory(&layers::content(state, layer)))
        .collect::<Result<_, _>>()?;
    let numbers: Vec<String> = lower.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let (directory, name) = (upper.0.as_raw_fd(), upper.1);
    let options = format!(
        "userxattr,lowerdir={},upperdir={directory}/{name},workdir={directory}/work\0",
        numbers.join(":")
    );
    let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes())
        .map_err(|_| Fault::refused("overlay options"))?;
    chdir("/proc/self/fd").at("/proc/self/fd")?;
    let target = format!("{}/root", stage.as_raw_fd());
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("overlay", target.as_str(), "overlay", flags, Some(options))
        .at(format_args!("overlay of {} layers", layers.len()))?;
    let root = open(target.as_str(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .at("root")?;
    chdir("/").at("/")?;
    Ok(root)
}

pub fn prepare(room: &mut Room<'_>) -> Result<(), Fault> {
    room.stage = Some(match room.job.root {
        Root::Ephemeral { size, inodes } => stage(room.state, (size, inodes))?,
        Root::ReadOnly | Root::Persistent => stage(room.state, SKELETON)?,
    });
    Ok(())
}

pub fn container(room: &mut Room<'_>) -> Result<(), Fault> {
    let job = room.job;
    let stage = room.stage()?;
    let root = if job.root == Root::Persistent {
        let upper = persistent(room.state, job.name.as_str())?;
        overlay(room.state, &job.layers, stage, (upper.as_fd(), "upper"))?
    } else {
        overlay(room.state, &job.layers, stage, (stage, "upper"))?
    };
    room.root = Some(root);
    Ok(())
}

/// The upper directory that outlives the container.
fn persistent(state: &Path, name: &str) -> Result<OwnedFd, Fault> {
    let roots = directory(&state.join("roots"))?;
    for path in [name.to_owned(), format!("{name}/upper"), format!("{name}/work")] {
        match mkdirat(&roots, path.as_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).at(path),
        }
    }
    directory(&state.join("roots").join(name))
}

pub fn seal(room: &mut Room<'_>) -> Result<(), Fault> {
    let read_only = room.job.root == Root::ReadOnly;
    let attributes = Attributes::NO_SUID.and(Attributes::NO_DEV, true).and(Attributes::READ_ONLY, read_only);
    set_attributes(room.root()?, attributes, false).at("/")
}

pub fn pivot(room: &mut Room<'_>) -> Result<(), Fault> {
    pivot_into(room.root()?)
}

/// Makes the mount that `root` is open on the root of this mount namespace, and nothing else part of it.
pub fn pivot_into(root: BorrowedFd<'_>) -> Result<(), Fault> {
    fchdir(root).at("/")?;
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up stacked on the new one, and is then taken away.
    pivot_root(".", ".").at("/")?;
    unmount(".", UnmountFlags::DETACH).at("the old root")?;
    chdir("/").at("/")
}
