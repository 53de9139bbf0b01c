//! Who the payload is: ids dropped in A, then the nested user namespace P that maps these ids and no other.

use super::{Room, procfs};
use casemate_confine::{At, Fault};
use casemate_sys::namespace::{self, Kind};
use casemate_wire::IdSpace;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

pub fn drop_ids(room: &mut Room<'_>) -> Result<(), Fault> {
    let (uid, gid) = room.ids_in_a();
    if room.realm.facts.ids != IdSpace::Single {
        rustix::thread::set_thread_groups(&[]).at("setgroups")?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).at("setresgid")?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).at("setresuid")?;
    }
    // Asked back, because every wrong answer to "who am I" that runtimes gave began with not asking (threat 10).
    let (real, effective) = (rustix::process::getuid(), rustix::process::geteuid());
    let (real_group, effective_group) = (rustix::process::getgid(), rustix::process::getegid());
    if (real, effective, real_group, effective_group) != (uid, uid, gid, gid) {
        return Err(Fault::refused("the ids are not those of the job"));
    }
    Ok(())
}

pub fn enter_p(room: &mut Room<'_>) -> Result<(), Fault> {
    // A process that changed its ids is not dumpable, and then may not write its own maps. Nothing else can see it yet.
    set_dumpable_behavior(DumpableBehavior::Dumpable).at("dumpable")?;
    namespace::unshare(Kind::User).at("unshare").map_err(Fault::as_not_enforceable)?;
    let procfs = room.procfs()?;
    let (uid, gid) = room.ids_in_a();
    let ids = &room.job.confinement.ids;
    procfs::write(procfs, "self/setgroups", "deny")?;
    // A map of one line with the own id needs no privilege (user_namespaces(7)).
    procfs::write(procfs, "self/gid_map", &format!("{} {} 1\n", ids.gid, gid.as_raw()))?;
    procfs::write(procfs, "self/uid_map", &format!("{} {} 1\n", ids.uid, uid.as_raw()))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at("dumpable")?;
    if (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()) != (ids.uid, ids.gid) {
        return Err(Fault::refused("the ids in P are not those of the job"));
    }
    Ok(())
}

pub fn forbid_nesting(room: &mut Room<'_>) -> Result<(), Fault> {
    procfs::write(room.procfs()?, "sys/user/max_user_namespaces", "0")
}
