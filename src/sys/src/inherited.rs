//! The descriptors that a program was started with and did not ask for (CVE-2024-21626, CVE-2016-9962).

use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io::Result;

/// Marks every descriptor from 3 up close-on-exec, so that no program started from here sees them.
pub fn keep_from_children() -> Result<()> {
    // SAFETY: with this flag the call closes nothing, it only sets a flag on what is open.
    crate::check(unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Takes over a descriptor that the starter handed to this program under an agreed number. Once for each number.
pub fn take(number: i32) -> Result<OwnedFd> {
    // SAFETY: fcntl with F_GETFD only answers whether the number is open.
    crate::check(unsafe { libc::fcntl(number, libc::F_GETFD) }.into())?;
    // SAFETY: the descriptor is open and came with the program, so no other value of this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

    #[test]
    fn threat_02_inherited_descriptors_end_at_the_next_exec() {
        let leaked = std::fs::File::open("/").unwrap();
        fcntl_setfd(&leaked, FdFlags::empty()).unwrap();
        super::keep_from_children().unwrap();
        assert!(fcntl_getfd(&leaked).unwrap().contains(FdFlags::CLOEXEC));
    }
}
