//! Giving identities up, for good: the caller becomes the manager, or the start stage becomes the helper's user.
//!
//! Both work on this thread alone, which is all of the process: each proves that first.

use super::{Error, Ids};
use casemate_sys::process::SingleThreaded;
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// What the helper needs for the one write of A's id maps.
const HELPER: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID);

fn step<E: std::fmt::Display>(name: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::new("this process", name, error)
}

/// Becomes this user, the manager's or the one that speaks to registries, if the caller is root; for root and user alike: no
/// capability, no way to get one, and nobody else may look into it until it executes another program.
pub fn become_powerless(ids: Ids) -> Result<(), Error> {
    SingleThreaded::prove().map_err(step("count its threads"))?;
    if rustix::process::geteuid().is_root() {
        drop_bounding(CapabilitySet::empty())?;
        switch(ids)?;
    }
    rustix::thread::clear_ambient_capability_set().map_err(step("clear its ambient capabilities"))?;
    let none = CapabilitySet::empty();
    set(CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    rustix::thread::set_no_new_privs(true).map_err(step("set no_new_privs"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(step("become undumpable"))
}

/// Becomes the helper's user with [`HELPER`] as its only capabilities, ambient, so that they outlast the execve.
pub fn become_helper(ids: Ids) -> Result<(), Error> {
    SingleThreaded::prove().map_err(step("count its threads"))?;
    drop_bounding(HELPER)?;
    rustix::thread::set_keep_capabilities(true).map_err(step("keep its capabilities"))?;
    switch(ids)?;
    set(CapabilitySets { effective: HELPER, permitted: HELPER, inheritable: HELPER })?;
    for one in [CapabilitySet::SETUID, CapabilitySet::SETGID] {
        rustix::thread::configure_capability_in_ambient_set(one, true)
            .map_err(step("raise its ambient capabilities"))?;
    }
    Ok(())
}

/// Checks that this process is of this user and group and no other, as its unit has it.
pub fn expect(ids: Ids) -> Result<(), Error> {
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    let groups = rustix::process::getgroups().map_err(step("list its groups"))?;
    let same = user == rustix::process::geteuid() && group == rustix::process::getegid();
    if same && (user, group) == (ids.user(), ids.group()) && groups.iter().all(|other| *other == group) {
        return Ok(());
    }
    let reason = format!(
        "it is user {} with group {} and {} others, not user {} with group {} alone",
        user.as_raw(),
        group.as_raw(),
        groups.len(),
        ids.uid,
        ids.gid
    );
    Err(step("check its identity")(reason).remedy("start it by its unit, with User= and Group= as installed"))
}

/// Checks that this process has what [`become_helper`] would give it, and nothing else.
pub fn expect_for_helper() -> Result<(), Error> {
    let sets = rustix::thread::capabilities(None).map_err(step("read its capabilities"))?;
    let ambient = [CapabilitySet::SETUID, CapabilitySet::SETGID]
        .into_iter()
        .all(|one| rustix::thread::capability_is_in_ambient_set(one) == Ok(true));
    if sets.permitted == HELPER && ambient {
        return Ok(());
    }
    let reason = format!("permitted are {:#x}, not SETUID and SETGID alone, ambient", sets.permitted.bits());
    Err(step("check its capabilities")(reason)
        .remedy("the unit needs AmbientCapabilities= and CapabilityBoundingSet= as installed"))
}

fn switch(ids: Ids) -> Result<(), Error> {
    rustix::thread::set_thread_groups(&[]).map_err(step("clear its groups"))?;
    let (user, group) = (ids.user(), ids.group());
    rustix::thread::set_thread_res_gid(group, group, group).map_err(step("set its group"))?;
    rustix::thread::set_thread_res_uid(user, user, user).map_err(step("set its user"))
}

fn set(sets: CapabilitySets) -> Result<(), Error> {
    rustix::thread::set_capabilities(None, sets).map_err(step("set its capabilities"))
}

/// The kernel ends the list with EINVAL.
fn drop_bounding(but: CapabilitySet) -> Result<(), Error> {
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if but.contains(one) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            Err(Errno::INVAL) if bit > 0 => break,
            Err(errno) => return Err(step("drop its bounding capabilities")(errno)),
        }
    }
    Ok(())
}
