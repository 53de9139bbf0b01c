//! The process that is root of the outer user namespace (A): mounts, cgroups, capabilities, filter; then it serves.

use crate::args::Settings;
use crate::context::Context;
use crate::{delegation, filters, layers, serve};
use casemate_confine::capabilities::{self, CapabilitySet};
use casemate_confine::{At, Error, landlock, process, seccomp};
use casemate_container::paths::open_directory;
use casemate_container::{Shared, StateDirectory, make_dev};
use casemate_sys::process::SingleThreaded;
use casemate_wire::{Facts, IdSpace, JOB_VERSION};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::os::fd::OwnedFd;

/// The capabilities that serving and starting containers takes; all others leave all sets for good.
fn kept(ids: IdSpace) -> CapabilitySet {
    let containers = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_CHROOT | CapabilitySet::NET_ADMIN;
    let identities = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETPCAP;
    let files = CapabilitySet::CHOWN | CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER | CapabilitySet::FSETID;
    let all = containers | identities | files | CapabilitySet::KILL | CapabilitySet::SYS_RESOURCE;
    // A map that names A's 0, as every P of a single-id A does, takes CAP_SETFCAP at the time of unshare (Linux 5.12).
    if ids == IdSpace::Single { all | CapabilitySet::SETFCAP } else { all }
}

/// Serves until a client quits. Accepted connections come one a packet; the programs are `casemate-unpack` and `casemate-init`.
pub fn run(settings: Settings, connections: &OwnedFd, [unpack, init]: [OwnedFd; 2]) -> Result<(), Error> {
    let proof = SingleThreaded::prove().at("threads")?;
    let state = StateDirectory::new(settings.state_dir);
    prepare()?;
    layers::prepare(&state)?;
    let cgroups = delegation::find()?;
    let dev = make_dev(open_directory(&state.dev())?)?;
    let ids = settings.range.map_or(IdSpace::Single, |(_, count)| IdSpace::Range { count });
    confine(ids)?;
    let facts = Facts { job_version: JOB_VERSION, ids, cgroup: cgroups.facts(), landlock: landlock::abi() };
    let shared = Shared { proof, state, facts, cgroups, dev, init };
    serve::serve(&Context { shared, unpack }, connections)
}

fn prepare() -> Result<(), Error> {
    // When the listener ends, everything in A ends.
    set_parent_process_death_signal(Some(Signal::KILL)).at("parent death signal")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    casemate_sys::resource::raise_descriptor_limit().at("descriptor limit")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at("/")?;
    // Shows the processes of this pid namespace. Containers can mount their own only where a fully visible one exists.
    mount("proc", "/proc", "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
        .at("/proc (is the host's /proc partly covered?)")
}

fn confine(ids: IdSpace) -> Result<(), Error> {
    process::no_new_privs()?;
    process::not_dumpable()?;
    seccomp::install_bytes(filters::OUTER)?;
    capabilities::keep_within(kept(ids))
}
