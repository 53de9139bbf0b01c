//! Descriptors that this process inherited from the process that started it (CVE-2024-21626, CVE-2016-9962).

use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io::Result;

/// Marks every descriptor above 2 close-on-exec, so that no program that this process executes inherits one.
pub fn keep_from_children() -> Result<()> {
    // SAFETY: with CLOSE_RANGE_CLOEXEC the call closes nothing; it sets a flag on the open descriptors.
    crate::check(unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Takes ownership of an inherited descriptor by its agreed number. Call it once for each number.
pub fn take(number: i32) -> Result<OwnedFd> {
    // SAFETY: fcntl with F_GETFD reads a flag and changes nothing.
    crate::check(unsafe { libc::fcntl(number, libc::F_GETFD) }.into())?;
    // SAFETY: the descriptor is open and was inherited, so no other value of this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

    #[test]
    fn threat_02_inherited_descriptors_become_close_on_exec() {
        let leaked = std::fs::File::open("/").unwrap();
        fcntl_setfd(&leaked, FdFlags::empty()).unwrap();
        super::keep_from_children().unwrap();
        assert!(fcntl_getfd(&leaked).unwrap().contains(FdFlags::CLOEXEC));
    }
}
