//! The process that is root of user namespace A: makes its surroundings, gives up what it does not need, and serves.

use crate::args::Settings;
use crate::cgroup::Tree;
use crate::fault::{At, Fault};
use crate::room::dev;
use crate::serve::{self, Realm};
use crate::{filters, layers};
use casemate_confine::capabilities::CapabilitySet;
use casemate_confine::{landlock, process, seccomp};
use casemate_sys::process::SingleThreaded;
use casemate_wire::{Facts, Failure, IdSpace, PROTOCOL};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySets, capability_is_in_bounding_set, remove_capability_from_bounding_set, set_capabilities,
};
use std::os::fd::OwnedFd;

/// What serving and starting containers takes; the rest is gone from all sets for good.
const KEPT: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SYS_RESOURCE);

/// What the doorman hands over.
pub struct Handover {
    /// The command line.
    pub settings: Settings,
    /// Accepted connections come here, one descriptor a packet.
    pub connections: OwnedFd,
    /// `casemate-unpack`.
    pub unpack: OwnedFd,
    /// `casemate-init`.
    pub init: OwnedFd,
}

/// Serves until it is told to quit.
pub fn run(handover: Handover) -> Result<(), Failure> {
    let proof = SingleThreaded::prove().at("threads").map_err(|fault| fault.in_step("realm"))?;
    let (cgroups, dev) = surroundings(&handover).map_err(|fault| fault.in_step("realm"))?;
    let ids = match handover.settings.range {
        Some((_, count)) => IdSpace::Range { count },
        None => IdSpace::Single,
    };
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let facts = Facts { protocol: PROTOCOL, ids, cgroup: cgroups.facts(), landlock: landlock::abi(), kernel };
    let realm = Realm {
        proof,
        state: handover.settings.state_dir,
        facts,
        cgroups,
        dev,
        unpack: handover.unpack,
        init: handover.init,
    };
    serve::serve(&realm, &handover.connections).map_err(|fault| fault.in_step("serve"))
}

fn surroundings(handover: &Handover) -> Result<(Tree, OwnedFd), Fault> {
    // The doorman's end is the end of everything in A.
    set_parent_process_death_signal(Some(Signal::KILL)).at("parent death signal")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    casemate_sys::resource::raise_descriptor_limit().at("descriptor limit")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at("/")?;
    // This pid namespace's own processes; containers mount theirs only where such a procfs is fully visible.
    mount("proc", "/proc", "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
        .at("/proc (is the host's /proc partly covered?)")?;
    layers::prepare(&handover.settings.state_dir)?;
    let cgroups = Tree::find()?;
    let dev = dev::template()?;
    confine(handover.settings.range.is_none())?;
    Ok((cgroups, dev))
}

fn confine(single: bool) -> Result<(), Fault> {
    crate::room::confined(process::no_new_privs())?;
    crate::room::confined(process::not_dumpable())?;
    crate::room::confined(seccomp::install_bytes(filters::REALM))?;
    // A map that names A's 0, as every P of a single-id A does, takes CAP_SETFCAP at the time of unshare (Linux 5.12).
    bound(if single { KEPT.union(CapabilitySet::SETFCAP) } else { KEPT })
}

/// Leaves these in the permitted, effective and bounding sets: what is started from here, unpack for one, has no more.
fn bound(kept: CapabilitySet) -> Result<(), Fault> {
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(one) {
            Ok(true) if !kept.contains(one) => {
                remove_capability_from_bounding_set(one)
                    .at(format_args!("bounding set, capability {number}"))?;
            }
            Ok(_) => {}
            // Past the last capability of this kernel.
            Err(_) => break,
        }
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).at("capability sets")
}
