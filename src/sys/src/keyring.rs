//! The session keyring. keyctl(2).

use rustix::io::Result;

/// KEYCTL_JOIN_SESSION_KEYRING of linux/keyctl.h.
const JOIN_SESSION_KEYRING: usize = 1;

/// Replaces the inherited session keyring by a new anonymous one. ENOSYS on a kernel without CONFIG_KEYS.
pub fn join_anonymous_session() -> Result<()> {
    // SAFETY: a null name means an anonymous keyring; the kernel reads no memory of this process.
    crate::check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0_usize) }).map(drop)
}
