//! The only unsafe code of casemate: system calls that rustix does not offer as safe functions, one file an area.
//!
//! Every function here is safe to call from the crates above; what it relies upon is checked here or carried by a type.

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

use std::io;

/// The result of a raw system call, as the C library reports it.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
