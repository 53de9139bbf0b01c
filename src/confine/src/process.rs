//! What a process gives up besides capabilities: privileges by execve, its dumpable state, its session keyring.

use crate::{At, Error};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;

/// No execve gives privileges from now on, in this thread and what it starts. prctl(2), PR_SET_NO_NEW_PRIVS.
pub fn no_new_privs() -> Result<(), Error> {
    set_no_new_privs(true).and_then(|()| rustix::thread::no_new_privs()).and_then(kept).at("set no_new_privs")
}

/// No process without CAP_SYS_PTRACE over this process can trace it or open what is below its `/proc` directory
/// (CVE-2019-5736). An execve of an ordinary program undoes it.
pub fn not_dumpable() -> Result<(), Error> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .and_then(|()| dumpable_behavior())
        .and_then(|now| kept(now == DumpableBehavior::NotDumpable))
        .at("make the process not dumpable")
}

/// What was set and is not there when it is read back was an invalid thing to ask.
fn kept(there: bool) -> Result<(), Errno> {
    if there { Ok(()) } else { Err(Errno::INVAL) }
}

/// Leaves the session keyring that was inherited: processes that share one can read its keys. A kernel without keys has nothing
/// to leave, so its ENOSYS is no error.
pub fn new_session_keyring() -> Result<(), Error> {
    match casemate_sys::keyring::join_anonymous_session() {
        Err(Errno::NOSYS) => Ok(()),
        other => other.at("new session keyring"),
    }
}
