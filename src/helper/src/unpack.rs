//! Starts `casemate-unpack` in namespaces of its own. Its root is the directory that receives a layer, or that is read.

use crate::context::Context;
use crate::layers;
use casemate_confine::{At, Error};
use casemate_container::child::{self, Report, kill, reap};
use casemate_container::{StateDirectory, overlay, paths, tree};
use casemate_sys::exec::{self, Strings};
use casemate_sys::mount::set_attributes;
use casemate_sys::process::Namespaces;
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
    /// The layer that it makes, and its directory.
    pub made: Option<(Digest, PathBuf)>,
    process: OwnedFd,
    report: Report,
    outcome: Option<UnpackOutcome>,
}

/// OCI image-spec, config.md: ChainID(L) = L's DiffID, or sha256(ChainID(parent) + " " + DiffID).
pub fn chain_id(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    let below = |parent| Digest::from_bytes(Sha256::digest(format!("{parent} {diff_id}")).into());
    parent.map_or(*diff_id, below)
}

/// Checks the request and starts the process that makes a layer.
pub fn start(context: &Context, request: &Unpack, blob: BorrowedFd<'_>) -> Result<Unpacking, Error> {
    let &Unpack { blob: digest, size, diff_id, ref parents, chain_id: layer, limits, sync } = request;
    if chain_id(parents.last(), &diff_id) != layer {
        return Err(Error::refused(format_args!("{layer} is not the ChainID of its parents and its diff_id")));
    }
    let inner = UnpackRequest { blob: digest, size, diff_id, limits, ids: context.shared.facts.ids, sync };
    let argument = inner.to_argument().map_err(|error| Error::refused(format_args!("argument: {error}")))?;
    let directory = layers::begin(&context.shared.state, &layer)?;
    let started = spawn(context, &directory, Some(parents), &["layer", &argument], blob);
    let (process, report) = started.inspect_err(|_| layers::abandon(&directory))?;
    let layers = parents.iter().copied().chain([layer]).collect();
    Ok(Unpacking { layers, made: Some((layer, directory)), process, report, outcome: None })
}

/// Starts the process that writes the inventory of a layer.
pub fn list(context: &Context, layer: Digest, inventory: BorrowedFd<'_>) -> Result<Unpacking, Error> {
    let directory = context.shared.state.content(&layer);
    let (process, report) = spawn(context, &directory, None, &["list"], inventory)?;
    Ok(Unpacking { layers: vec![layer], made: None, process, report, outcome: None })
}

/// Starts the process that adds up the disk usage of a volume.
pub fn measure(context: &Context, volume: &Name) -> Result<Unpacking, Error> {
    let directory = context.shared.state.volumes().join(volume.as_str());
    let nothing = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).at("/dev/null")?;
    let (process, report) = spawn(context, &directory, None, &["measure"], nothing.as_fd())?;
    Ok(Unpacking { layers: Vec::new(), made: None, process, report, outcome: None })
}

/// Starts the process. Its root is the directory, read-only; with parents it is the directory's `fs` on top of their merged view,
/// writable.
fn spawn(
    context: &Context,
    directory: &Path,
    parents: Option<&[Digest]>,
    arguments: &[&str],
    input: BorrowedFd<'_>,
) -> Result<(OwnedFd, Report), Error> {
    let argv = Strings::new(&[&["casemate-unpack"], arguments].concat()).at("argv")?;
    child::spawn(&context.shared.proof, Namespaces::ALL_BUT_USER, None, |output| {
        let result = become_unpack(context, directory, parents, [input, output], &argv);
        let error = result.err().unwrap_or_else(|| Error::container("did not start"));
        encode::<UnpackOutcome>(&Err(error.in_step("unpack")))
    })
}

fn become_unpack(
    context: &Context,
    directory: &Path,
    parents: Option<&[Digest]>,
    [input, result]: [BorrowedFd<'_>; 2],
    argv: &Strings,
) -> Result<(), Error> {
    let name = if parents.is_some() { "fs" } else { "." };
    let upper = paths::open_directory(directory)?;
    let stage = overlay::stage(&context.shared.state, overlay::SKELETON)?;
    let new_root = if let Some(parents @ [_, ..]) = parents {
        overlay::overlay(&context.shared.state, parents, stage.as_fd(), (upper.as_fd(), name))?
    } else {
        let tree = tree::copy(paths::beneath(&upper, name, paths::DIRECTORY).at(name)?, name)?;
        tree::attach(&tree, paths::directory(stage.as_fd(), "root")?, name)?;
        set_attributes(&tree, tree::when(tree::READ_ONLY, parents.is_none()), false).at(name)?;
        tree
    };
    overlay::pivot_into(new_root.as_fd())?;
    casemate_sys::signal::reset_all();
    dup2_stdin(input).at("input")?;
    dup2_stdout(result).at("result")?;
    casemate_sys::inherited::keep_from_children().at("close_range")?;
    let env = Strings::new::<&str>(&[]).at("environment")?;
    Err(exec::execve_descriptor(context.unpack.as_fd(), argv, &env)).at("casemate-unpack")
}

impl Unpacking {
    /// Reads what is available of the outcome. Returns it once the process has ended too: then the layer that it made is visible, or
    /// its directory is to be removed.
    pub fn advance(&mut self, state: &StateDirectory) -> Option<Result<LayerReport, Failure>> {
        if self.outcome.is_none() {
            let died = |_| Err(Error::container("casemate-unpack ended without an outcome").in_step("unpack"));
            self.outcome = Some(decode::<UnpackOutcome>(self.report.collect()?).unwrap_or_else(died));
            // A layer that others see must not change: the process ends before it becomes visible.
            let _ = kill(&self.process);
        }
        reap(&self.process)?;
        let report = self.outcome.take()?;
        let Some((layer, directory)) = &self.made else { return Some(report) };
        Some(report.and_then(|report| {
            layers::commit(state, layer, directory).map(|()| report).map_err(|error| error.in_step("layer"))
        }))
    }
}

impl AsFd for Unpacking {
    /// Ready when there is more of the outcome; after that, when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        if self.outcome.is_none() { self.report.as_fd() } else { self.process.as_fd() }
    }
}
