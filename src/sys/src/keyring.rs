//! The session keyring. keyctl(2).

use rustix::io::Result;

/// KEYCTL_JOIN_SESSION_KEYRING of linux/keyctl.h.
const JOIN_SESSION_KEYRING: usize = 1;

/// Leaves the inherited session keyring for a new anonymous one. ENOSYS where the kernel has no keys.
pub fn join_anonymous_session() -> Result<()> {
    // SAFETY: a null name asks for an anonymous keyring; the kernel reads no memory of ours.
    crate::check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0_usize) }).map(drop)
}
