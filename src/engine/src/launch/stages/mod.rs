//! The re-exec stages: `casemate` executed again, to prepare its own process and then execute another program in it.
//!
//! A stage does what has to happen between fork and exec, which safe Rust cannot do in a forked child. A caller gains nothing by
//! starting one: a stage does nothing that its caller may not do.
//!
//! - [`helper`]: from `casemate up` to `casemate-helper`
//! - [`service_helper`]: from casemate-helper.service to `casemate-helper`
//! - [`fetch`]: from a verb that uses registries to `casemate-fetch`

pub mod fetch;
pub mod helper;
pub mod service_helper;

use super::{Error, Ids};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::FdFlags;

/// Leaves the caller's session, working directory, umask and signal dispositions; `stage` is the object of errors.
fn detach_from_caller(stage: &'static str) -> Result<(), Error> {
    let step = |name| move |errno| Error::new(stage, name, errno);
    casemate_sys::inherited::keep_from_children().map_err(step("mark inherited descriptors"))?;
    rustix::process::setsid().map_err(step("open a session"))?;
    rustix::process::chdir("/").map_err(step("change to /"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // An ignored SIGCHLD survives execve: the kernel would reap the containers before the helper reads their exit status.
    casemate_sys::signal::reset_all();
    Ok(())
}

/// Passes standard input on to the program that is executed, as this descriptor. The copy is closed when dropped.
fn pass_stdin_as(number: i32, stage: &'static str) -> Result<OwnedFd, Error> {
    let step = |errno| Error::new(stage, "place the socket", errno);
    let socket = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), number).map_err(step)?;
    if socket.as_raw_fd() != number {
        return Err(Error::new(stage, "place the socket", format!("descriptor {number} is taken")));
    }
    rustix::io::fcntl_setfd(&socket, FdFlags::empty()).map_err(step)?;
    Ok(socket)
}

/// Resets a negative oom_score_adj, as of a service with `OOMScoreAdjust=-1000`: the containers would inherit it.
fn reset_oom_score() -> std::io::Result<()> {
    const SCORE: &str = "/proc/self/oom_score_adj";
    if std::fs::read_to_string(SCORE)?.starts_with('-') { std::fs::write(SCORE, "0") } else { Ok(()) }
}

/// `uid:gid`, as stages pass it in arguments.
fn parse_ids(text: &str) -> Option<Ids> {
    let (uid, gid) = text.split_once(':')?;
    Some(Ids { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
}
