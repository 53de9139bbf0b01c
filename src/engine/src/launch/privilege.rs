//! Changes of user and capabilities, for good: to the manager's user, to the helper's, to that of casemate-fetch.
//!
//! Each works on this thread alone, and first proves that it is the only thread of the process.

use super::{Error, Ids};
use casemate_sys::process::SingleThreaded;
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// What the helper needs to write the id maps of the outer user namespace (A).
const HELPER: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID);

fn step<E: std::fmt::Display>(name: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::new("this process", name, error)
}

/// Switches to this user if the caller is root. As root and as an ordinary user: clears all capabilities, sets no_new_privs, and makes
/// the process undumpable until it executes another program.
pub fn drop_privileges(ids: Ids) -> Result<(), Error> {
    SingleThreaded::prove().map_err(step("count its threads"))?;
    if rustix::process::geteuid().is_root() {
        drop_bounding(CapabilitySet::empty())?;
        set_user(ids)?;
    }
    rustix::thread::clear_ambient_capability_set().map_err(step("clear its ambient capabilities"))?;
    let none = CapabilitySet::empty();
    set_capabilities(CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    rustix::thread::set_no_new_privs(true).map_err(step("set no_new_privs"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(step("become undumpable"))
}

/// Switches to the helper's user with [`HELPER`] as its only capabilities, ambient, so that they survive execve.
pub fn switch_to_helper_user(ids: Ids) -> Result<(), Error> {
    SingleThreaded::prove().map_err(step("count its threads"))?;
    drop_bounding(HELPER)?;
    rustix::thread::set_keep_capabilities(true).map_err(step("keep its capabilities"))?;
    set_user(ids)?;
    set_capabilities(CapabilitySets { effective: HELPER, permitted: HELPER, inheritable: HELPER })?;
    for capability in [CapabilitySet::SETUID, CapabilitySet::SETGID] {
        rustix::thread::configure_capability_in_ambient_set(capability, true)
            .map_err(step("raise its ambient capabilities"))?;
    }
    Ok(())
}

/// Fails unless the real and effective user and group are these, without supplementary groups, as the unit sets them.
pub fn verify_user(ids: Ids) -> Result<(), Error> {
    let user = rustix::process::getuid();
    let group = rustix::process::getgid();
    let groups = rustix::process::getgroups().map_err(step("list its groups"))?;
    let same = user == rustix::process::geteuid() && group == rustix::process::getegid();
    if same && (user, group) == (ids.user(), ids.group()) && groups.iter().all(|other| *other == group) {
        return Ok(());
    }
    let reason = format!(
        "user {}, group {}, {} supplementary groups; expected user {}, group {}, none",
        user.as_raw(),
        group.as_raw(),
        groups.len(),
        ids.uid,
        ids.gid
    );
    Err(step("check its identity")(reason).remedy("start it by its unit, with User= and Group= as installed"))
}

/// Fails unless this process has exactly the capabilities that [`switch_to_helper_user`] sets.
pub fn verify_helper_capabilities() -> Result<(), Error> {
    let sets = rustix::thread::capabilities(None).map_err(step("read its capabilities"))?;
    let ambient = [CapabilitySet::SETUID, CapabilitySet::SETGID]
        .into_iter()
        .all(|capability| rustix::thread::capability_is_in_ambient_set(capability) == Ok(true));
    if sets.permitted == HELPER && ambient {
        return Ok(());
    }
    let reason = format!("permitted set {:#x}; expected SETUID and SETGID, ambient", sets.permitted.bits());
    Err(step("check its capabilities")(reason)
        .remedy("the unit needs AmbientCapabilities= and CapabilityBoundingSet= as installed"))
}

fn set_user(ids: Ids) -> Result<(), Error> {
    rustix::thread::set_thread_groups(&[]).map_err(step("clear its groups"))?;
    let user = ids.user();
    let group = ids.group();
    rustix::thread::set_thread_res_gid(group, group, group).map_err(step("set its group"))?;
    rustix::thread::set_thread_res_uid(user, user, user).map_err(step("set its user"))
}

fn set_capabilities(sets: CapabilitySets) -> Result<(), Error> {
    rustix::thread::set_capabilities(None, sets).map_err(step("set its capabilities"))
}

/// Drops all but `keep`. The kernel answers EINVAL above its last capability.
fn drop_bounding(keep: CapabilitySet) -> Result<(), Error> {
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if keep.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::INVAL) if bit > 0 => break,
            Err(errno) => return Err(step("drop its bounding capabilities")(errno)),
        }
    }
    Ok(())
}
