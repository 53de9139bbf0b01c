//! Resource limits by their kernel numbers, as they cross the wire.

use std::io;

/// setrlimit(2) for this process; RLIM_INFINITY is `u64::MAX`.
///
/// # Errors
/// EINVAL for an unknown resource or soft above hard; EPERM for a hard limit above the present one.
pub fn set_limit(resource: u8, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the structure is initialised and outlives the call; no old value is asked for.
    crate::check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            libc::c_long::from(resource),
            &raw const limit,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    })?;
    Ok(())
}

/// Raises the soft limit of open descriptors to the hard one.
///
/// # Errors
/// Does not fail on a sane kernel.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    Ok(rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?)
}
