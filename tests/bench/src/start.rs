//! Request to exit of `/bin/true`: ours beside the floor, and beside crun, runc and bwrap as their users meet them.

use crate::bundle::{self, Bundle};
use crate::cgroup::{Hierarchies, Subtree};
use crate::command::Timed;
use crate::failure::{Result, Step};
use crate::floor::{self, Floor};
use crate::measure::{Contender, interleaved};
use crate::recipe::{self, Places};
use crate::rows::{Row, Side, name};
use crate::{tools, unified};
use casemate_wire::Job;
use std::path::{Path, PathBuf};

const ROUNDS: usize = 101;
/// The range of the runtimes' user namespace; the same as A's, so file ownership costs the same.
pub const BASE: u32 = 1_879_113_728;
/// A's root.
const HELPER: u32 = 1_879_048_193;

/// What all contenders start.
#[derive(Debug)]
pub struct Setting<'a> {
    /// A directory for what is made here, reachable by other users.
    pub work: &'a Path,
    /// The job that ours gets.
    pub job: &'a Job,
    /// Directories of its layers, bottom first.
    pub layers: &'a [PathBuf],
    /// The same files, merged.
    pub root: &'a Path,
    /// What the seccomp profile allows.
    pub calls: &'a [String],
}

/// One contender: who, and how to run it, or the words for its row.
type Entry = (&'static str, std::result::Result<Box<dyn Contender>, String>);

/// Measures all of them in one interleaved run.
pub fn rows(setting: &Setting<'_>, ours: Box<dyn Contender>) -> Result<Vec<Row>> {
    let hierarchies = Hierarchies::read()?;
    let subtree = Subtree::make(&hierarchies, &format!("casemate-floor-{}", std::process::id()), HELPER)?;
    let entries: Vec<Entry> = vec![
        ("casemate", Ok(ours)),
        ("floor", Ok(Box::new(floor(setting, &subtree)?))),
        ("crun run", crun(setting, &hierarchies)?),
        ("runc run", runc(setting)?),
        ("bwrap", bwrap(setting)?),
    ];
    let mut names = Vec::new();
    let mut contenders = Vec::new();
    let mut sides = Vec::new();
    for (peer, contender) in entries {
        match contender {
            Ok(contender) => {
                names.push(peer);
                contenders.push(contender);
            }
            Err(missing) => sides.push((peer, Side::Missing(missing))),
        }
    }
    let samples = interleaved(&mut contenders, ROUNDS)?;
    drop(contenders);
    sides.extend(names.into_iter().zip(samples.iter().map(Side::from)));
    let side = |wanted| sides.iter().find(|(peer, _)| *peer == wanted).map(|(_, side)| side.clone());
    let rows = name::START_PEERS.into_iter().filter_map(|peer_name| {
        Some(Row { name: name::START, ours: side("casemate")?, peer: side(peer_name)?, peer_name, unit: "ms" })
    });
    Ok(rows.collect())
}

fn floor(setting: &Setting<'_>, subtree: &Subtree) -> Result<Floor> {
    let root = setting.work.join("floor-root");
    std::fs::create_dir(&root).step("make the floor's root")?;
    // overlayfs takes no fewer than two lower directories where there is no upper one.
    let mut layers = vec![root.clone()];
    layers.extend_from_slice(setting.layers);
    let places = Places { layers: &layers, root: &root, v2: subtree.v2.as_deref(), v1: &subtree.v1 };
    let program = floor::compile(setting.work, &recipe::header(setting.job, &places))?;
    Floor::start(&program, &format!("0 {HELPER} 1\n1 {BASE} 65535\n"), subtree)
}

/// crun takes cgroup v2 alone: on a hybrid host it gets a mount namespace in which v2 lies at /sys/fs/cgroup. That tree
/// has no controllers there, so it is also spared the limits.
fn crun(setting: &Setting<'_>, hierarchies: &Hierarchies) -> Result<std::result::Result<Box<dyn Contender>, String>> {
    let program = match tools::find("crun", "crun") {
        Ok(program) => program,
        Err(missing) => return Ok(Err(missing)),
    };
    let bundle = runtime_bundle(setting, "crun", !hierarchies.hybrid())?;
    let argv = runtime_arguments(setting, &program, &bundle);
    unified::contender(hierarchies, argv).map(Ok)
}

fn runc(setting: &Setting<'_>) -> Result<std::result::Result<Box<dyn Contender>, String>> {
    let program = match tools::find("runc", "runc") {
        Ok(program) => program,
        Err(missing) => return Ok(Err(missing)),
    };
    let bundle = runtime_bundle(setting, "runc", true)?;
    Ok(Ok(Box::new(Timed::new(runtime_arguments(setting, &program, &bundle)))))
}

fn runtime_bundle(setting: &Setting<'_>, runtime: &str, limits: bool) -> Result<PathBuf> {
    let directory = setting.work.join(format!("bundle-{runtime}"));
    let bundle = Bundle {
        root: setting.root,
        base: BASE,
        limits,
        calls: setting.calls,
        argv: &["/bin/true"],
        cgroup: &format!("/casemate-bench-{runtime}"),
    };
    bundle::write(&directory, setting.job, &bundle)?;
    Ok(directory)
}

fn runtime_arguments(setting: &Setting<'_>, program: &Path, bundle: &Path) -> Vec<std::ffi::OsString> {
    let state = setting.work.join("runtime-state");
    let mut argv: Vec<std::ffi::OsString> = vec![program.into(), "--root".into(), state.into()];
    argv.extend(["run".into(), "--bundle".into(), bundle.into(), "casemate-bench".into()]);
    argv
}

fn bwrap(setting: &Setting<'_>) -> Result<std::result::Result<Box<dyn Contender>, String>> {
    let program = match tools::find("bwrap", "bubblewrap") {
        Ok(program) => program,
        Err(missing) => return Ok(Err(missing)),
    };
    let mut timed = Timed::new(bundle::bwrap(&program, setting.job, setting.root));
    if !setting.job.confinement.seccomp.is_empty() {
        let filter = setting.work.join("filter.bpf");
        std::fs::write(&filter, &setting.job.confinement.seccomp).step("write filter.bpf")?;
        timed.input = Some(filter);
    }
    Ok(Ok(Box::new(timed)))
}
