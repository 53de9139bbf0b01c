//! Starts `casemate-unpack` on one layer: in namespaces of its own, rooted in the directory that receives the layer.

use crate::layers;
use crate::outcome::{self, Outcome, kill, reap};
use crate::realm::Realm;
use crate::room::{paths, root, tree};
use casemate_confine::{At, Fault};
use casemate_sys::exec::{self, Strings};
use casemate_wire::{Digest, Failure, LayerReport, UnpackLayer, UnpackOrder, UnpackOutcome, decode, encode};
use rustix::stdio::{dup2_stdin, dup2_stdout};
use sha2::{Digest as _, Sha256};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A running unpack.
pub struct Unpacking {
    /// The layer in the making and its parents.
    pub layers: Vec<Digest>,
    layer: Digest,
    /// Where it is made.
    pub directory: PathBuf,
    process: OwnedFd,
    outcome: Outcome,
    said: Option<UnpackOutcome>,
}

/// OCI image-spec, config.md: ChainID(L) = L's DiffID, or sha256(ChainID(parent) + " " + DiffID).
pub fn chain_id(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    let below = |parent| Digest::from_bytes(Sha256::digest(format!("{parent} {diff_id}")).into());
    parent.map_or(*diff_id, below)
}

/// Checks the request and starts the process.
pub fn start(realm: &Realm, request: &UnpackLayer, blob: BorrowedFd<'_>) -> Result<Unpacking, Fault> {
    let &UnpackLayer { blob: digest, size, diff_id, ref parents, chain_id: layer, limits } = request;
    if chain_id(parents.last(), &diff_id) != layer {
        return Err(Fault::refused(format_args!("{layer} is not the ChainID of its parents and its diff_id")));
    }
    if let Some(missing) = parents.iter().find(|parent| !layers::exists(&realm.state, parent)) {
        return Err(Fault::refused(format_args!("parent layer {missing} is not there")));
    }
    let order = UnpackOrder { blob: digest, size, diff_id, limits, ids: realm.facts.ids };
    let order = order.argument().map_err(|error| Fault::refused(format_args!("order: {error}")))?;
    let argv = Strings::new(&["casemate-unpack", "layer", &order]).at("argv")?;
    let directory = layers::begin(&realm.state, &layer)?;
    let started = outcome::spawn(&realm.proof, None, |result| {
        let entered = enter(realm, parents, &directory, [blob, result], &argv);
        let fault = entered.err().unwrap_or_else(|| Fault::container("did not start"));
        encode::<UnpackOutcome>(&Err(fault.in_step("unpack")))
    });
    let (process, outcome) = started.inspect_err(|_| layers::abandon(&directory))?;
    let layers = parents.iter().copied().chain([layer]).collect();
    Ok(Unpacking { layers, layer, directory, process, outcome, said: None })
}

/// In the new process: the directory, or the parents' merged view on top of it, becomes the whole file system.
fn enter(
    realm: &Realm,
    parents: &[Digest],
    directory: &Path,
    [blob, result]: [BorrowedFd<'_>; 2],
    argv: &Strings,
) -> Result<(), Fault> {
    let upper = paths::open_directory(directory)?;
    let stage = root::stage(&realm.state, root::SKELETON)?;
    let new_root = if parents.is_empty() {
        let tree = tree::copy(paths::beneath(&upper, "fs", paths::DIRECTORY).at("fs")?, "fs")?;
        tree::attach(&tree, paths::directory(stage.as_fd(), "root")?, "fs")?;
        tree
    } else {
        root::overlay(&realm.state, parents, stage.as_fd(), (upper.as_fd(), "fs"))?
    };
    root::pivot_into(new_root.as_fd())?;
    casemate_sys::signal::reset_all();
    dup2_stdin(blob).at("blob")?;
    dup2_stdout(result).at("result")?;
    casemate_sys::inherited::keep_from_children().at("close_range")?;
    let env = Strings::new::<&str>(&[]).at("environment")?;
    Err(exec::execve_descriptor(realm.unpack.as_fd(), argv, &env)).at("casemate-unpack")
}

impl Unpacking {
    /// Goes on, when the descriptor is ready; the answer once the process has told its outcome and is gone: then the layer is
    /// visible, or its directory to be thrown away.
    pub fn advance(&mut self, state: &Path) -> Option<Result<LayerReport, Failure>> {
        if self.said.is_none() {
            let died = |_| Err(Fault::container("casemate-unpack ended without an outcome").in_step("unpack"));
            self.said = Some(decode::<UnpackOutcome>(self.outcome.collect()?).unwrap_or_else(died));
            // Whatever it still does, it does not do it to a layer that others see.
            let _ = kill(&self.process);
        }
        reap(&self.process)?;
        Some(self.said.take()?.and_then(|report| {
            let committed = layers::commit(state, &self.layer, &self.directory, &report);
            committed.map(|()| report).map_err(|fault| fault.in_step("layer"))
        }))
    }
}

impl AsFd for Unpacking {
    /// Ready when there is more of the outcome; after that, when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        if self.said.is_none() { self.outcome.as_fd() } else { self.process.as_fd() }
    }
}
