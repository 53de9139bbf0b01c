//! Leaving namespaces for new ones, of the kinds that are safe for the caller's memory and descriptors.

use std::io;

/// A namespace that a process can leave alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// CLONE_NEWUSER.
    User,
    /// CLONE_NEWCGROUP.
    Cgroup,
    /// CLONE_NEWNS.
    Mount,
}

/// unshare(2).
///
/// # Errors
/// As unshare(2): EPERM, ENOSPC, EINVAL.
pub fn unshare(kind: Kind) -> io::Result<()> {
    let flag = match kind {
        Kind::User => libc::CLONE_NEWUSER,
        Kind::Cgroup => libc::CLONE_NEWCGROUP,
        Kind::Mount => libc::CLONE_NEWNS,
    };
    // SAFETY: none of the three flags changes what memory or descriptors the caller shares with other threads.
    crate::check(unsafe { libc::syscall(libc::SYS_unshare, flag) })?;
    Ok(())
}
