//! unshare(2) for the namespaces that a process can change without effect on its memory and descriptors.

use rustix::io::Result;

/// A namespace that a process can replace by a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Kind {
    /// CLONE_NEWUSER.
    User = libc::CLONE_NEWUSER,
    /// CLONE_NEWCGROUP.
    Cgroup = libc::CLONE_NEWCGROUP,
    /// CLONE_NEWNS.
    Mount = libc::CLONE_NEWNS,
}

/// unshare(2).
///
/// # Errors
/// As unshare(2): EPERM, ENOSPC, EINVAL.
pub fn unshare(kind: Kind) -> Result<()> {
    // SAFETY: none of the three flags changes which memory or descriptors the caller shares with other threads.
    crate::check(unsafe { libc::syscall(libc::SYS_unshare, kind as i32) }).map(drop)
}
