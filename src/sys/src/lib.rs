//! All unsafe code of casemate: system calls that rustix does not offer as safe functions, one file per area.
//!
//! Every public function is safe to call: its preconditions are checked here or carried by a type.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the kernel gives one number several C types; each cast here is to the type that its call takes or returns"
)]

pub mod exec;
pub mod inherited;
pub mod keyring;
pub mod landlock;
pub mod mount;
pub mod namespace;
pub mod network;
pub mod process;
pub mod resource;
pub mod seccomp;
pub mod signal;
pub mod socket;

use rustix::io::{Errno, Result};

/// The result of a raw system call, as the C library reports it.
fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result == -1 { Err(last_errno()) } else { Ok(result) }
}

/// The errno of the last failed call.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
