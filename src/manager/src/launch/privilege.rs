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

/// Becomes the manager's user if the caller is root; for root and user alike: no capability, no way to get one, and
/// nobody else may look into it.
pub fn become_manager(ids: Ids) -> Result<(), Error> {
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
