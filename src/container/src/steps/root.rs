//! The root file system: an overlay of the layers on a tmpfs, sealed and pivoted into.

use super::Start;
use crate::paths::{make_directory, open_directory};
use crate::tree::{READ_ONLY, SAFE, when};
use crate::{StateDirectory, overlay};
use casemate_confine::{At, Error};
use casemate_sys::mount::set_attributes;
use casemate_wire::WritableRoot;
use std::os::fd::{AsFd, OwnedFd};

pub fn prepare(start: &mut Start<'_>) -> Result<(), Error> {
    let size = match start.job.rootfs.writable_root {
        WritableRoot::Ephemeral { size, inodes } => (size, inodes),
        WritableRoot::None | WritableRoot::Persistent => overlay::SKELETON,
    };
    start.state.stage = Some(overlay::stage(&start.setup.shared.state, size)?);
    Ok(())
}

pub fn container(start: &mut Start<'_>) -> Result<(), Error> {
    let state = &start.setup.shared.state;
    let stage = start.stage()?;
    let persistent = match start.job.rootfs.writable_root {
        WritableRoot::Persistent => Some(persistent(state, start.job.name.as_str())?),
        WritableRoot::None | WritableRoot::Ephemeral { .. } => None,
    };
    let upper = persistent.as_ref().map_or(stage, AsFd::as_fd);
    start.state.root = Some(overlay::overlay(state, &start.job.rootfs.layers, stage, (upper, "upper"))?);
    Ok(())
}

/// The upper directory that outlives the container.
fn persistent(state: &StateDirectory, name: &str) -> Result<OwnedFd, Error> {
    let roots = open_directory(&state.roots())?;
    for path in [name.to_owned(), format!("{name}/upper"), format!("{name}/work")] {
        make_directory(&roots, &path, 0o755).at(path)?;
    }
    open_directory(&state.roots().join(name))
}

pub fn seal(start: &mut Start<'_>) -> Result<(), Error> {
    let read_only = when(READ_ONLY, start.job.rootfs.writable_root == WritableRoot::None);
    set_attributes(start.root()?, SAFE | read_only, false).at("/")
}

pub fn pivot(start: &mut Start<'_>) -> Result<(), Error> {
    overlay::pivot_into(start.root()?)
}
