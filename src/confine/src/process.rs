//! What a process gives up besides capabilities: privileges by execve, its dumpable state, its session keyring.

use crate::Error;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

/// No execve gives privileges from now on, in this thread and what it starts. prctl(2), PR_SET_NO_NEW_PRIVS.
pub fn no_new_privs() -> Result<(), Error> {
    rustix::thread::set_no_new_privs(true).map_err(Error::NoNewPrivs)?;
    match rustix::thread::no_new_privs() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::NoNewPrivs(Errno::INVAL)),
        Err(errno) => Err(Error::NoNewPrivs(errno)),
    }
}

/// Nobody without CAP_SYS_PTRACE over this process can trace it or open what is below its `/proc` directory
/// (CVE-2019-5736). An execve of an ordinary program undoes it.
pub fn not_dumpable() -> Result<(), Error> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Error::Dumpable)?;
    match dumpable_behavior() {
        Ok(DumpableBehavior::NotDumpable) => Ok(()),
        Ok(_) => Err(Error::Dumpable(Errno::INVAL)),
        Err(errno) => Err(Error::Dumpable(errno)),
    }
}

/// Leaves the session keyring that was inherited: whoever shares one can read its keys. A kernel without keys has nothing
/// to leave, so its ENOSYS is no error.
pub fn new_session_keyring() -> Result<(), Error> {
    match casemate_sys::keyring::join_anonymous_session() {
        Ok(()) | Err(Errno::NOSYS) => Ok(()),
        Err(errno) => Err(Error::SessionKeyring(errno)),
    }
}
