//! What surrounds the process: cgroup v1, session, host name, standard streams, resource limits.

use super::{Setup, Start};
use casemate_confine::{At, Error};
use casemate_sys::resource;
use rustix::fs::{Mode, OFlags, open};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

const RLIMIT_CORE: u8 = 4;

/// The helper makes them beside the steps before this one.
pub fn new_cgroup_v1(start: &mut Start<'_>) -> Result<(), Error> {
    next_event(start)?;
    start.setup.cgroup.join_v1()
}

/// Waits for the helper.
pub fn next_event(start: &mut Start<'_>) -> Result<(), Error> {
    // eventfd(2): a read returns the 8 bytes of one event.
    rustix::io::retry_on_intr(|| rustix::io::read(start.events, &mut [0; 8])).at("eventfd").map(drop)
}

pub fn session() -> Result<(), Error> {
    rustix::process::setsid().at("setsid")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    casemate_sys::signal::reset_all();
    Ok(())
}

pub fn hostname(start: &mut Start<'_>) -> Result<(), Error> {
    let hostname = &start.job.network.hostname;
    rustix::system::sethostname(hostname.as_bytes()).at(hostname)
}

pub fn stdio(setup: &Setup<'_>) -> Result<(), Error> {
    let null = open("/dev/null", OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).at("/dev/null")?;
    dup2_stdin(&null).at("stdin")?;
    // A payload that opens /dev/stdout anew needs to own the pipe.
    let (uid, gid) = setup.outer_ids();
    for stream in setup.stdio {
        rustix::fs::fchown(stream, Some(uid), Some(gid)).at("output pipe")?;
    }
    let [out, err] = setup.stdio;
    dup2_stdout(out).at("stdout")?;
    dup2_stderr(err).at("stderr")
}

/// Comes after the last step that opens a descriptor: a low limit of descriptors is the payload's and not the setup's.
pub fn rlimits(setup: &Setup<'_>) -> Result<(), Error> {
    resource::set_limit(RLIMIT_CORE, 0, 0).at("core")?;
    for limit in &setup.process.rlimits {
        resource::set_limit(limit.resource, limit.soft, limit.hard)
            .at(format_args!("resource {} to {}:{}", limit.resource, limit.soft, limit.hard))
            .map_err(Error::as_not_enforceable)?;
    }
    Ok(())
}
