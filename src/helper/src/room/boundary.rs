//! The edges of the room: cgroup, session, network, host name, standard streams, resource limits.

use super::Room;
use casemate_confine::{At, Fault};
use casemate_sys::namespace::{self, Kind};
use rustix::fs::{Mode, OFlags, open};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

const RLIMIT_CORE: u8 = 4;

pub fn join_cgroups(room: &mut Room<'_>) -> Result<(), Fault> {
    for tasks in room.cgroup_tasks {
        // 0 is the writing thread, which is all of this process. `cgroup.procs` would do the same and wait for a grace period.
        rustix::io::write(tasks, b"0").at("tasks")?;
    }
    Ok(())
}

pub fn session(_: &mut Room<'_>) -> Result<(), Fault> {
    rustix::process::setsid().at("setsid")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    casemate_sys::signal::reset_all();
    Ok(())
}

pub fn hostname(room: &mut Room<'_>) -> Result<(), Fault> {
    rustix::system::sethostname(room.job.network.hostname.as_bytes()).at(&room.job.network.hostname)
}

pub fn cgroup_namespace(_: &mut Room<'_>) -> Result<(), Fault> {
    // clone3 copied the cgroup namespace before it moved the child, so only now is the root the container's own cgroup.
    namespace::unshare(Kind::Cgroup).at("unshare")
}

pub fn stdio(room: &mut Room<'_>) -> Result<(), Fault> {
    let null = open("/dev/null", OFlags::RDONLY | OFlags::NOCTTY, Mode::empty()).at("/dev/null")?;
    dup2_stdin(&null).at("stdin")?;
    let [out, err] = room.stdio;
    // A payload that opens /dev/stdout anew needs to own the pipe.
    let (uid, gid) = room.ids_in_a();
    for stream in room.stdio {
        rustix::fs::fchown(stream, Some(uid), Some(gid)).at("output pipe")?;
    }
    dup2_stdout(out).at("stdout")?;
    dup2_stderr(err).at("stderr")
}

pub fn rlimits(room: &mut Room<'_>) -> Result<(), Fault> {
    casemate_sys::resource::set_limit(RLIMIT_CORE, 0, 0).at("core")?;
    for limit in &room.job.process.rlimits {
        casemate_sys::resource::set_limit(limit.resource, limit.soft, limit.hard)
            .at(format_args!("resource {} to {}:{}", limit.resource, limit.soft, limit.hard))
            .map_err(Fault::as_not_enforceable)?;
    }
    Ok(())
}
