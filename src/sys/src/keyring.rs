//! The session keyring. keyctl(2).

use rustix::io::Errno;

/// KEYCTL_JOIN_SESSION_KEYRING of linux/keyctl.h.
const JOIN_SESSION_KEYRING: usize = 1;

/// Leaves the inherited session keyring for a new anonymous one. ENOSYS where the kernel has no keys.
pub fn join_anonymous_session() -> Result<(), Errno> {
    // SAFETY: a null name asks for an anonymous keyring; the kernel reads no memory of ours.
    let serial = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0_usize) };
    if serial >= 0 { Ok(()) } else { Err(last_errno()) }
}

/// What the C library left of the call before.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
