//! The process that is root of user namespace A: makes its surroundings, gives up what it does not need, and serves.

use crate::args::Settings;
use crate::cgroup::Tree;
use crate::room::{dev, paths::open_directory};
use crate::{filters, layers, serve};
use casemate_confine::capabilities::{self, CapabilitySet};
use casemate_confine::{At, Fault, landlock, process, seccomp};
use casemate_sys::process::SingleThreaded;
use casemate_wire::{Facts, IdSpace, JOB_VERSION};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What serving and starting containers takes; the rest is gone from all sets for good.
fn kept(ids: IdSpace) -> CapabilitySet {
    let rooms = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_CHROOT | CapabilitySet::NET_ADMIN;
    let identities = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETPCAP;
    let files = CapabilitySet::CHOWN | CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER | CapabilitySet::FSETID;
    let all = rooms | identities | files | CapabilitySet::KILL | CapabilitySet::SYS_RESOURCE;
    // A map that names A's 0, as every P of a single-id A does, takes CAP_SETFCAP at the time of unshare (Linux 5.12).
    if ids == IdSpace::Single { all | CapabilitySet::SETFCAP } else { all }
}

/// What every start and every unpack in A builds on.
pub struct Realm {
    /// One thread, for ever.
    pub proof: SingleThreaded,
    /// The state directory.
    pub state: PathBuf,
    /// What this host can do.
    pub facts: Facts,
    /// The delegated cgroups.
    pub cgroups: Tree,
    /// The shared part of `/dev`, attached in the helper's own mount namespace.
    pub dev: OwnedFd,
    /// `casemate-unpack`.
    pub unpack: OwnedFd,
    /// `casemate-init`.
    pub init: OwnedFd,
}

/// Serves until it is told to quit. Accepted connections come one a packet; the programs are `casemate-unpack` and
/// `casemate-init`.
pub fn run(settings: Settings, connections: &OwnedFd, [unpack, init]: [OwnedFd; 2]) -> Result<(), Fault> {
    let proof = SingleThreaded::prove().at("threads")?;
    surroundings()?;
    layers::prepare(&settings.state_dir)?;
    let cgroups = Tree::find()?;
    let dev = dev::make(open_directory(&layers::dev_dir(&settings.state_dir))?)?;
    let ids = settings.range.map_or(IdSpace::Single, |(_, count)| IdSpace::Range { count });
    confine(ids)?;
    let facts = Facts { job_version: JOB_VERSION, ids, cgroup: cgroups.facts(), landlock: landlock::abi() };
    let realm = Realm { proof, state: settings.state_dir, facts, cgroups, dev, unpack, init };
    serve::serve(&realm, connections)
}

fn surroundings() -> Result<(), Fault> {
    // The doorman's end is the end of everything in A.
    set_parent_process_death_signal(Some(Signal::KILL)).at("parent death signal")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    casemate_sys::resource::raise_descriptor_limit().at("descriptor limit")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at("/")?;
    // This pid namespace's own processes; containers mount theirs only where such a procfs is fully visible.
    mount("proc", "/proc", "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
        .at("/proc (is the host's /proc partly covered?)")
}

fn confine(ids: IdSpace) -> Result<(), Fault> {
    process::no_new_privs()?;
    process::not_dumpable()?;
    seccomp::install_bytes(filters::REALM)?;
    capabilities::keep_within(kept(ids))
}
