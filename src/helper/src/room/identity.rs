//! Who the payload is: ids dropped in A, then the nested user namespace P that maps these ids and no other.

use super::{Room, procfs};
use crate::outcome;
use casemate_confine::{At, Fault};
use casemate_sys::namespace::{self, Kind};
use casemate_sys::process::{Fork, Namespaces, SingleThreaded, exit_now, fork};
use casemate_wire::IdSpace;
use rustix::fs::Gid;
use rustix::process::{DumpableBehavior, WaitId, WaitIdOptions, set_dumpable_behavior, waitid};
use std::os::fd::{AsFd, OwnedFd};

pub fn drop_ids(room: &mut Room<'_>) -> Result<(), Fault> {
    let (uid, gid) = room.ids_in_a();
    if room.realm.facts.ids != IdSpace::Single {
        if !room.job.ids.groups.is_empty() {
            room.made.mapper = Some(Mapper::start(room)?);
        }
        let groups: Vec<Gid> = room.job.ids.groups.iter().map(|&group| Gid::from_raw(group)).collect();
        rustix::thread::set_thread_groups(&groups).at("setgroups")?;
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
    let mapper = room.made.mapper.take();
    let procfs = room.procfs()?;
    let (uid, gid) = room.ids_in_a();
    let ids = &room.job.ids;
    procfs::write(procfs, "self/setgroups", "deny")?;
    match mapper {
        Some(mapper) => mapper.write()?,
        None => procfs::write(procfs, "self/gid_map", &line(ids.gid, gid.as_raw()))?,
    }
    procfs::write(procfs, "self/uid_map", &line(ids.uid, uid.as_raw()))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at("dumpable")?;
    if (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()) != (ids.uid, ids.gid) {
        return Err(Fault::refused("the ids in P are not those of the job"));
    }
    Ok(())
}

fn line(inside: u32, outside: u32) -> String {
    format!("{inside} {outside} 1\n")
}

pub fn forbid_nesting(room: &mut Room<'_>) -> Result<(), Fault> {
    procfs::write(room.procfs()?, "sys/user/max_user_namespaces", "0")
}

/// A process that stays root of A for one write: a group map of several lines needs CAP_SETGID in A, which the container's
/// process has given up by then.
pub struct Mapper {
    go: OwnedFd,
    pidfd: OwnedFd,
}

impl Mapper {
    fn start(room: &Room<'_>) -> Result<Self, Fault> {
        let (wait, go) = outcome::pipe()?;
        let proof = SingleThreaded::prove().at("mapper")?;
        match fork(&proof, Namespaces::NONE, None).at("mapper")? {
            Fork::Parent { pidfd, .. } => Ok(Self { go, pidfd }),
            Fork::Child => {
                drop(go);
                exit_now(u8::from(Self::run(room, &wait).is_err()))
            }
        }
    }

    fn run(room: &Room<'_>, wait: &OwnedFd) -> Result<(), Fault> {
        let mut byte = [0];
        // No byte: the container's process ended first.
        if rustix::io::read(wait, &mut byte).at("pipe")? != 1 {
            return Err(Fault::refused("nobody waits"));
        }
        let ids = &room.job.ids;
        let others = ids.groups.iter().filter(|&&group| group != ids.gid);
        let map: String = [&ids.gid].into_iter().chain(others).map(|&group| line(group, group)).collect();
        // The container's process is pid 1 of its namespace.
        procfs::write(room.procfs()?, "1/gid_map", &map)
    }

    fn write(self) -> Result<(), Fault> {
        rustix::io::write(&self.go, b"g").at("mapper")?;
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED).at("mapper")?;
        match status.and_then(|status| status.exit_status()) {
            Some(0) => Ok(()),
            _ => Err(Fault::container("gid_map with the supplementary groups was refused")),
        }
    }
}
