//! Resource limits by their kernel numbers, as jobs carry them.

use rustix::io::Result;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Sets a limit of this process (prlimit(2)); RLIM_INFINITY is `u64::MAX`.
///
/// # Errors
/// EINVAL for an unknown resource or a soft limit above the hard one; EPERM for a hard limit above the present one.
pub fn set_limit(resource: u8, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let resource = libc::c_long::from(resource);
    let old = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: the structure is initialised and outlives the call; a null pointer means that no old value is written.
    crate::check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, old) }).map(drop)
}

/// Raises the soft limit of open descriptors to the hard limit.
///
/// # Errors
/// As setrlimit(2); none is expected, as the hard limit stays.
pub fn raise_descriptor_limit() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
}
