//! Who the payload is: ids dropped in A, then the container's user namespace (P) that maps these ids and no other.

use super::{Enter, Setup, Start, procfs};
use casemate_confine::{At, Error, process};
use casemate_sys::namespace::{self, Kind};
use casemate_wire::{IdSpace, Ids};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

pub fn drop_ids(setup: &Setup<'_>) -> Result<(), Error> {
    let (uid, gid) = setup.outer_ids();
    if setup.shared.facts.ids != IdSpace::Single {
        rustix::thread::set_thread_groups(&[]).at("setgroups")?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).at("setresgid")?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).at("setresuid")?;
    }
    // Read back: runtimes took a failed call for a changed id (threat 10).
    let real = rustix::process::getuid();
    let effective = rustix::process::geteuid();
    let real_group = rustix::process::getgid();
    let effective_group = rustix::process::getegid();
    if (real, effective, real_group, effective_group) != (uid, uid, gid, gid) {
        return Err(Error::refused("the ids are not those of the job"));
    }
    Ok(())
}

/// Drops the ids, and keeps the permitted capabilities until P is joined.
pub fn drop_ids_only(setup: &Setup<'_>) -> Result<(), Error> {
    rustix::thread::set_keep_capabilities(true).at("keep capabilities")?;
    drop_ids(setup)
}

pub fn new_user_namespace(start: &mut Start<'_>) -> Result<(), Error> {
    // A process that changed its ids is not dumpable, and then may not write its own maps. No other process can see it yet.
    set_dumpable_behavior(DumpableBehavior::Dumpable).at("dumpable")?;
    namespace::unshare(Kind::User).at("unshare").map_err(Error::as_not_enforceable)?;
    let procfs = start.procfs()?;
    let (uid, gid) = start.setup.outer_ids();
    let ids = &start.setup.confinement.ids;
    procfs::write(procfs, "self/setgroups", "deny")?;
    // A map of one line with the own id needs no privilege (user_namespaces(7)).
    procfs::write(procfs, "self/gid_map", &format!("{} {} 1\n", ids.gid, gid.as_raw()))?;
    procfs::write(procfs, "self/uid_map", &format!("{} {} 1\n", ids.uid, uid.as_raw()))?;
    process::not_dumpable()?;
    check_inner_ids(ids)
}

pub fn join_user_namespace(enter: &mut Enter<'_>) -> Result<(), Error> {
    move_into_thread_name_spaces(enter.container, ThreadNameSpaceType::USER).at("setns")?;
    // The kernel sets it anew where the new credentials are not a part of the old ones.
    process::not_dumpable()?;
    check_inner_ids(&enter.setup.confinement.ids)
}

fn check_inner_ids(ids: &Ids) -> Result<(), Error> {
    if (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()) != (ids.uid, ids.gid) {
        return Err(Error::refused("the ids in P are not those of the job"));
    }
    Ok(())
}

pub fn forbid_nesting(start: &mut Start<'_>) -> Result<(), Error> {
    procfs::write(start.procfs()?, "sys/user/max_user_namespaces", "0")
}
