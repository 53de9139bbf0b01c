//! The root file system: an overlay of the layers, sealed and pivoted into. Unpack uses the same overlay for its merged view.

use super::paths::{make_directory, open_directory};
use super::tree::{READ_ONLY, SAFE, when};
use super::{Room, tree};
use crate::layers;
use casemate_confine::{At, Fault};
use casemate_sys::mount::set_attributes;
use casemate_wire::{Digest, WritableRoot};
use rustix::fs::{Mode, OFlags, mkdirat, open};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{chdir, fchdir, pivot_root};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What the overlay's upper directory of a read-only root takes: mount points and three small files.
pub const SKELETON: (u64, u64) = (2 << 20, 1024);

/// A tmpfs of this process's mount namespace, with the directories `root`, `upper` and `work`.
pub fn stage(state: &Path, (size, inodes): (u64, u64)) -> Result<OwnedFd, Fault> {
    let stage = tree::tmpfs(size, inodes, "700", SAFE)?;
    // Overlay takes only directories of mounts that are attached in the mounter's namespace (CVE-2021-3732).
    tree::attach(&stage, open_directory(&layers::stage_dir(state))?, "stage")?;
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
    (upper, name): (BorrowedFd<'_>, &str),
) -> Result<OwnedFd, Fault> {
    let open_layer = |layer| open_directory(&layers::content(state, layer));
    let lower: Vec<OwnedFd> = layers.iter().rev().map(open_layer).collect::<Result<_, _>>()?;
    let numbers: Vec<String> = lower.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let (lower, upper) = (numbers.join(":"), upper.as_raw_fd());
    let options = format!("userxattr,lowerdir={lower},upperdir={upper}/{name},workdir={upper}/work");
    let options = CString::new(options).map_err(|_| Fault::refused("overlay options"))?;
    chdir("/proc/self/fd").at("/proc/self/fd")?;
    let target = format!("{}/root", stage.as_raw_fd());
    mount("overlay", &target, "overlay", MountFlags::NOSUID | MountFlags::NODEV, &*options)
        .at(format_args!("overlay of {} layers", layers.len()))?;
    let root = open(&target, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at("root")?;
    chdir("/").at("/")?;
    Ok(root)
}

pub fn prepare(room: &mut Room<'_>) -> Result<(), Fault> {
    let size = match room.job.rootfs.writable_root {
        WritableRoot::Ephemeral { size, inodes } => (size, inodes),
        WritableRoot::None | WritableRoot::Persistent => SKELETON,
    };
    room.made.stage = Some(stage(&room.realm.state, size)?);
    Ok(())
}

pub fn container(room: &mut Room<'_>) -> Result<(), Fault> {
    let (state, stage) = (&room.realm.state, room.stage()?);
    let persistent = match room.job.rootfs.writable_root {
        WritableRoot::Persistent => Some(persistent(state, room.job.name.as_str())?),
        WritableRoot::None | WritableRoot::Ephemeral { .. } => None,
    };
    let upper = persistent.as_ref().map_or(stage, AsFd::as_fd);
    room.made.root = Some(overlay(state, &room.job.rootfs.layers, stage, (upper, "upper"))?);
    Ok(())
}

/// The upper directory that outlives the container.
fn persistent(state: &Path, name: &str) -> Result<OwnedFd, Fault> {
    let roots = open_directory(&state.join("roots"))?;
    for path in [name.to_owned(), format!("{name}/upper"), format!("{name}/work")] {
        make_directory(&roots, &path, 0o755).at(path)?;
    }
    open_directory(&state.join("roots").join(name))
}

pub fn seal(room: &mut Room<'_>) -> Result<(), Fault> {
    let read_only = when(READ_ONLY, room.job.rootfs.writable_root == WritableRoot::None);
    set_attributes(room.root()?, SAFE | read_only, false).at("/")
}

/// Makes the mount that `root` is open on the root of this mount namespace, and nothing else part of it.
pub fn pivot_into(root: BorrowedFd<'_>) -> Result<(), Fault> {
    fchdir(root).at("/")?;
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up stacked on the new one, and is then taken away.
    pivot_root(".", ".").at("/")?;
    unmount(".", UnmountFlags::DETACH).at("the old root")?;
    chdir("/").at("/")
}
