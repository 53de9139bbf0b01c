//! Starts `casemate-unpack` on one layer: in namespaces of its own, rooted in the directory that receives the layer.

use crate::fault::{At, Fault};
use crate::room::root;
use crate::{layers, room};
use casemate_sys::exec::{self, Strings};
use casemate_sys::process::{Fork, Namespaces, SingleThreaded, exit_now, fork};
use casemate_wire::{Digest, Failure, IdSpace, UnpackLayer, UnpackOrder, UnpackOutcome, decode, encode};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{dup2_stdin, dup2_stdout};
use sha2::{Digest as _, Sha256};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What an unpack needs beside its request.
pub struct Bench<'a> {
    /// Proof for fork.
    pub proof: &'a SingleThreaded,
    /// The state directory.
    pub state: &'a Path,
    /// A's ids.
    pub space: IdSpace,
    /// `casemate-unpack`.
    pub program: BorrowedFd<'a>,
}

/// A running unpack.
pub struct Unpacking {
    /// The process.
    pub pidfd: OwnedFd,
    /// Its outcome comes here; ready when the process has written it or ended.
    pub outcome: OwnedFd,
    layer: Digest,
    directory: PathBuf,
}

/// OCI image-spec, config.md: ChainID(L) = L's DiffID, or sha256(ChainID(parent) + " " + DiffID).
pub fn chain_id(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    match parent {
        None => *diff_id,
        Some(parent) => Digest::from_bytes(Sha256::digest(format!("{parent} {diff_id}")).into()),
    }
}

/// Checks the request and starts the process.
pub fn start(bench: &Bench<'_>, request: &UnpackLayer, blob: BorrowedFd<'_>) -> Result<Unpacking, Fault> {
    if chain_id(request.parents.last(), &request.diff_id) != request.chain_id {
        return Err(Fault::refused(format_args!(
            "{} is not the ChainID of its parents and its diff_id",
            request.chain_id
        )));
    }
    if let Some(missing) = request.parents.iter().find(|parent| !layers::exists(bench.state, parent)) {
        return Err(Fault::refused(format_args!("parent layer {missing} is not there")));
    }
    let order = UnpackOrder {
        blob: request.blob,
        size: request.size,
        diff_id: request.diff_id,
        limits: request.limits,
        ids: bench.space,
    };
    let order = order.argument().map_err(|error| Fault::refused(format_args!("order: {error}")))?;
    let argv = Strings::new(&["casemate-unpack", "layer", &order]).at("argv")?;
    let directory = layers::begin(bench.state, &request.chain_id)?;
    let (outcome, result) = pipe_with(PipeFlags::CLOEXEC).at("pipe")?;
    let child = || enter(bench, request, &directory, (blob, result.as_fd()), &argv);
    match fork(bench.proof, Namespaces::ROOM, None).at("clone3") {
        Ok(Fork::Parent { pidfd, .. }) => {
            Ok(Unpacking { pidfd, outcome, layer: request.chain_id, directory })
        }
        Ok(Fork::Child) => {
            let failure = match child() {
                Ok(()) => Fault::container("did not start").in_step("unpack"),
                Err(fault) => fault.in_step("unpack"),
            };
            if let Ok(bytes) = encode::<UnpackOutcome>(&Err(failure)) {
                // Nobody to tell when the helper is gone.
                let _ = rustix::io::write(&result, &bytes);
            }
            exit_now(1)
        }
        Err(fault) => {
            layers::abandon(&directory);
            Err(fault)
        }
    }
}

/// In the new process: the directory, or the parents' merged view on top of it, becomes the whole file system.
fn enter(
    bench: &Bench<'_>,
    request: &UnpackLayer,
    directory: &Path,
    (blob, result): (BorrowedFd<'_>, BorrowedFd<'_>),
    argv: &Strings,
) -> Result<(), Fault> {
    let upper = room::paths::host_path(&directory.display().to_string())?;
    let stage = root::stage(bench.state, root::SKELETON)?;
    let new_root = if request.parents.is_empty() {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(&upper, "fs", flags).at("fs")?;
        let place = room::paths::directory(stage.as_fd(), "root")?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&tree, "", &place, "", flags).at("fs")?;
        tree
    } else {
        root::overlay(bench.state, &request.parents, stage.as_fd(), (upper.as_fd(), "fs"))?
    };
    root::pivot_into(new_root.as_fd())?;
    casemate_sys::signal::reset_all();
    dup2_stdin(blob).at("blob")?;
    dup2_stdout(result).at("result")?;
    casemate_sys::inherited::keep_from_children().at("close_range")?;
    let env = Strings::new::<&str>(&[]).at("environment")?;
    Err(exec::execve_descriptor(bench.program, argv, &env)).at("casemate-unpack")
}

impl Unpacking {
    /// Takes the outcome of a process that has ended or is about to, and makes the layer visible or throws it away.
    pub fn finish(self, state: &Path) -> Result<casemate_wire::LayerReport, Failure> {
        let outcome = read_outcome(&self.outcome);
        // Whatever it still does, it does not do it to a layer that others see.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
        let _ = rustix::process::waitid(
            rustix::process::WaitId::PidFd(self.pidfd.as_fd()),
            rustix::process::WaitIdOptions::EXITED,
        );
        let result = outcome.and_then(|report| {
            let committed = layers::commit(state, &self.layer, &self.directory, &report);
            committed.map(|()| report).map_err(|fault| fault.in_step("layer"))
        });
        if result.is_err() {
            layers::abandon(&self.directory);
        }
        result
    }
}

fn read_outcome(pipe: &OwnedFd) -> UnpackOutcome {
    let died = || Fault::container("casemate-unpack ended without an outcome").in_step("unpack");
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(_) => return Err(died()),
        }
        if bytes.len() > casemate_wire::MAX_MESSAGE {
            return Err(died());
        }
    }
    decode::<UnpackOutcome>(&bytes).unwrap_or_else(|_| Err(died()))
}
