//! Roots for new processes: a tmpfs to build on, an overlay of layers, and pivot_root. Containers and `casemate-unpack` both use them.

use crate::StateDirectory;
use crate::paths::open_directory;
use crate::tree::{self, SAFE};
use casemate_confine::{At, Error};
use casemate_wire::Digest;
use rustix::fs::{Mode, OFlags, mkdirat, open};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{chdir, fchdir, pivot_root};
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Bytes and inodes of the upper directory of a read-only root: mount points and three small files.
pub const SKELETON: (u64, u64) = (2 << 20, 1024);

/// A tmpfs of this process's mount namespace, with the directories `root`, `upper` and `work`.
pub fn stage(state: &StateDirectory, (size, inodes): (u64, u64)) -> Result<OwnedFd, Error> {
    let stage = tree::tmpfs(size, inodes, "700", SAFE)?;
    // Overlay takes only directories of mounts that are attached in the mounter's namespace (CVE-2021-3732).
    tree::attach(&stage, open_directory(&state.stage())?, "stage")?;
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
    state: &StateDirectory,
    layers: &[Digest],
    stage: BorrowedFd<'_>,
    (upper, name): (BorrowedFd<'_>, &str),
) -> Result<OwnedFd, Error> {
    let open_layer = |layer| open_directory(&state.content(layer));
    let lower: Vec<OwnedFd> = layers.iter().rev().map(open_layer).collect::<Result<_, _>>()?;
    let numbers: Vec<String> = lower.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let lower = numbers.join(":");
    let upper = upper.as_raw_fd();
    let options = format!("userxattr,lowerdir={lower},upperdir={upper}/{name},workdir={upper}/work");
    let options = CString::new(options).map_err(|_| Error::refused("overlay options"))?;
    chdir("/proc/self/fd").at("/proc/self/fd")?;
    let target = format!("{}/root", stage.as_raw_fd());
    mount("overlay", &target, "overlay", MountFlags::NOSUID | MountFlags::NODEV, &*options)
        .at(format_args!("overlay of {} layers", layers.len()))?;
    let root = open(&target, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at("root")?;
    chdir("/").at("/")?;
    Ok(root)
}

/// Makes the mount that `root` is open on the root of this mount namespace, and nothing else part of it.
pub fn pivot_into(root: BorrowedFd<'_>) -> Result<(), Error> {
    fchdir(root).at("/")?;
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up stacked on the new one, and is then taken away.
    pivot_root(".", ".").at("/")?;
    unmount(".", UnmountFlags::DETACH).at("the old root")?;
    chdir("/").at("/")
}
