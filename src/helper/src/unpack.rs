//! Starts `casemate-unpack`: in namespaces of its own, rooted in the directory that receives a layer, or that it is to look at.

use crate::layers;
use crate::outcome::{self, Outcome, kill, reap};
use crate::realm::Realm;
use crate::room::{paths, root, tree};
use casemate_confine::{At, Fault};
use casemate_sys::exec::{self, Strings};
use casemate_sys::mount::set_attributes;
use casemate_wire::{Digest, Failure, LayerReport, Name, Unpack, UnpackOutcome, UnpackRequest, decode, encode};
use rustix::fs::{Mode, OFlags, open};
use rustix::stdio::{dup2_stdin, dup2_stdout};
use sha2::{Digest as _, Sha256};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A running `casemate-unpack`.
pub struct Unpacking {
    /// The layers that it reads or makes.
    pub layers: Vec<Digest>,
    /// The layer that it makes, and where.
    pub made: Option<(Digest, PathBuf)>,
    process: OwnedFd,
    outcome: Outcome,
    said: Option<UnpackOutcome>,
}

/// OCI image-spec, config.md: ChainID(L) = L's DiffID, or sha256(ChainID(parent) + " " + DiffID).
pub fn chain_id(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    let below = |parent| Digest::from_bytes(Sha256::digest(format!("{parent} {diff_id}")).into());
    parent.map_or(*diff_id, below)
}

/// Checks the request and starts the process that makes a layer.
pub fn start(realm: &Realm, request: &Unpack, blob: BorrowedFd<'_>) -> Result<Unpacking, Fault> {
    let &Unpack { blob: digest, size, diff_id, ref parents, chain_id: layer, limits, sync } = request;
    if chain_id(parents.last(), &diff_id) != layer {
        return Err(Fault::refused(format_args!("{layer} is not the ChainID of its parents and its diff_id")));
    }
    let inner = UnpackRequest { blob: digest, size, diff_id, limits, ids: realm.facts.ids, sync };
    let argument = inner.to_argument().map_err(|error| Fault::refused(format_args!("argument: {error}")))?;
    let directory = layers::begin(&realm.state, &layer)?;
    let started = spawn(realm, &directory, Some(parents), &["layer", &argument], blob);
    let (process, outcome) = started.inspect_err(|_| layers::abandon(&directory))?;
    let layers = parents.iter().copied().chain([layer]).collect();
    Ok(Unpacking { layers, made: Some((layer, directory)), process, outcome, said: None })
}

/// Starts the process that writes the inventory of a layer.
pub fn list(realm: &Realm, layer: Digest, inventory: BorrowedFd<'_>) -> Result<Unpacking, Fault> {
    let directory = layers::content(&realm.state, &layer);
    let (process, outcome) = spawn(realm, &directory, None, &["list"], inventory)?;
    Ok(Unpacking { layers: vec![layer], made: None, process, outcome, said: None })
}

/// Starts the process that adds up what a volume takes.
pub fn measure(realm: &Realm, volume: &Name) -> Result<Unpacking, Fault> {
    let directory = realm.state.join("volumes").join(volume.as_str());
    let nothing = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).at("/dev/null")?;
    let (process, outcome) = spawn(realm, &directory, None, &["measure"], nothing.as_fd())?;
    Ok(Unpacking { layers: Vec::new(), made: None, process, outcome, said: None })
}

/// The process whose file system is the directory, to be read; with parents, its `fs` on top of their merged view, to be written to.
fn spawn(
    realm: &Realm,
    directory: &Path,
    parents: Option<&[Digest]>,
    arguments: &[&str],
    input: BorrowedFd<'_>,
) -> Result<(OwnedFd, Outcome), Fault> {
    let argv = Strings::new(&[&["casemate-unpack"], arguments].concat()).at("argv")?;
    outcome::spawn(&realm.proof, None, |result| {
        let entered = enter(realm, directory, parents, [input, result], &argv);
        let fault = entered.err().unwrap_or_else(|| Fault::container("did not start"));
        encode::<UnpackOutcome>(&Err(fault.in_step("unpack")))
    })
}

fn enter(
    realm: &Realm,
    directory: &Path,
    parents: Option<&[Digest]>,
    [input, result]: [BorrowedFd<'_>; 2],
    argv: &Strings,
) -> Result<(), Fault> {
    let name = if parents.is_some() { "fs" } else { "." };
    let upper = paths::open_directory(directory)?;
    let stage = root::stage(&realm.state, root::SKELETON)?;
    let new_root = if let Some(parents @ [_, ..]) = parents {
        root::overlay(&realm.state, parents, stage.as_fd(), (upper.as_fd(), name))?
    } else {
        let tree = tree::copy(paths::beneath(&upper, name, paths::DIRECTORY).at(name)?, name)?;
        tree::attach(&tree, paths::directory(stage.as_fd(), "root")?, name)?;
        set_attributes(&tree, tree::when(tree::READ_ONLY, parents.is_none()), false).at(name)?;
        tree
    };
    root::pivot_into(new_root.as_fd())?;
    casemate_sys::signal::reset_all();
    dup2_stdin(input).at("input")?;
    dup2_stdout(result).at("result")?;
    casemate_sys::inherited::keep_from_children().at("close_range")?;
    let env = Strings::new::<&str>(&[]).at("environment")?;
    Err(exec::execve_descriptor(realm.unpack.as_fd(), argv, &env)).at("casemate-unpack")
}

impl Unpacking {
    /// Goes on, when the descriptor is ready; the answer once the process has told its outcome and is gone: then the layer that
    /// it made is visible, or its directory to be thrown away.
    pub fn advance(&mut self, state: &Path) -> Option<Result<LayerReport, Failure>> {
        if self.said.is_none() {
            let died = |_| Err(Fault::container("casemate-unpack ended without an outcome").in_step("unpack"));
            self.said = Some(decode::<UnpackOutcome>(self.outcome.collect()?).unwrap_or_else(died));
            // Whatever it still does, it does not do it to a layer that others see.
            let _ = kill(&self.process);
        }
        reap(&self.process)?;
        let report = self.said.take()?;
        let Some((layer, directory)) = &self.made else { return Some(report) };
        Some(report.and_then(|report| {
            layers::commit(state, layer, directory).map(|()| report).map_err(|fault| fault.in_step("layer"))
        }))
    }
}

impl AsFd for Unpacking {
    /// Ready when there is more of the outcome; after that, when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        if self.said.is_none() { self.outcome.as_fd() } else { self.process.as_fd() }
    }
}
