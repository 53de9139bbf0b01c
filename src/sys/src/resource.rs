//! Resource limits by their kernel numbers, as they cross the wire.

use rustix::io::Result;
use rustix::process::{Resource, getrlimit, setrlimit};

/// setrlimit(2) for this process; RLIM_INFINITY is `u64::MAX`.
///
/// # Errors
/// EINVAL for an unknown resource or soft above hard; EPERM for a hard limit above the present one.
pub fn set_limit(resource: u8, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let (resource, old) = (libc::c_long::from(resource), std::ptr::null_mut::<libc::rlimit64>());
    // SAFETY: the structure is initialised and outlives the call; no old value is asked for.
    crate::check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, old) }).map(drop)
}

/// Raises the soft limit of open descriptors to the hard one.
///
/// # Errors
/// Does not fail on a sane kernel.
pub fn raise_descriptor_limit() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
}
