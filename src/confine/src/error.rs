//! Why a thread could not be confined: one variant a step.

use rustix::io::Errno;
use std::fmt;
use std::path::PathBuf;

/// A step that failed. The thread must end: it may be confined in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A capability could not be read from or taken out of the bounding set.
    BoundingSet(u8, Errno),
    /// The ambient set could not be cleared, or this capability not be put there.
    AmbientSet(Option<u8>, Errno),
    /// PR_SET_SECUREBITS.
    SecureBits(Errno),
    /// capget or capset.
    CapabilitySets(Errno),
    /// Not the number of a capability that this kernel has.
    UnknownCapability(u8),
    /// The kernel reports other capabilities than were asked for: the set's name and its bits.
    CapabilitiesDiffer(&'static str, u64),
    /// PR_SET_NO_NEW_PRIVS.
    NoNewPrivs(Errno),
    /// PR_SET_DUMPABLE.
    Dumpable(Errno),
    /// KEYCTL_JOIN_SESSION_KEYRING.
    SessionKeyring(Errno),
    /// The kernel has no Landlock, or it is not enabled.
    LandlockMissing,
    /// A rule needs a newer Landlock ABI: what, the ABI it needs, the ABI there is.
    LandlockTooOld(&'static str, u32, u32),
    /// The path of a rule could not be opened.
    LandlockPath(PathBuf, Errno),
    /// A Landlock call failed: which, and how.
    Landlock(&'static str, Option<Errno>),
    /// A rule is not enforced although no call failed.
    LandlockPartial,
    /// A filter's length is not 1..=4096 instructions of 8 bytes.
    FilterLength(usize),
    /// A rule has more instructions than one jump can leave: so many.
    FilterRule(usize),
    /// SECCOMP_SET_MODE_FILTER.
    Seccomp(Errno),
}

impl Error {
    /// The error number of the system call that failed, where one did.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::BoundingSet(_, errno)
            | Self::AmbientSet(_, errno)
            | Self::SecureBits(errno)
            | Self::CapabilitySets(errno)
            | Self::NoNewPrivs(errno)
            | Self::Dumpable(errno)
            | Self::SessionKeyring(errno)
            | Self::LandlockPath(_, errno)
            | Self::Seccomp(errno) => Some(errno.raw_os_error()),
            Self::Landlock(_, errno) => errno.map(Errno::raw_os_error),
            _ => None,
        }
    }

    /// Whether this kernel cannot apply the control at all (exit code 5), and not a mistake in what was asked.
    pub fn not_enforceable(&self) -> bool {
        matches!(
            self,
            Self::LandlockMissing
                | Self::LandlockTooOld(..)
                | Self::LandlockPartial
                | Self::Seccomp(Errno::NOSYS)
                | Self::CapabilitiesDiffer(..)
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BoundingSet(capability, errno) => {
                write!(f, "capability {capability} in the bounding set: {errno}")
            }
            Self::AmbientSet(None, errno) => write!(f, "clear the ambient capabilities: {errno}"),
            Self::AmbientSet(Some(capability), errno) => {
                write!(f, "capability {capability} in the ambient set: {errno}")
            }
            Self::SecureBits(errno) => write!(f, "lock the secure bits: {errno}"),
            Self::CapabilitySets(errno) => write!(f, "capability sets: {errno}"),
            Self::UnknownCapability(number) => write!(f, "this kernel has no capability {number}"),
            Self::CapabilitiesDiffer(set, bits) => {
                write!(f, "the {set} capabilities read back as {bits:#x}, not as they were set")
            }
            Self::NoNewPrivs(errno) => write!(f, "set no_new_privs: {errno}"),
            Self::Dumpable(errno) => write!(f, "make the process not dumpable: {errno}"),
            Self::SessionKeyring(errno) => write!(f, "new session keyring: {errno}"),
            Self::LandlockMissing => f.write_str(
                "this kernel has no landlock: it needs CONFIG_SECURITY_LANDLOCK and `landlock` in the lsm= parameter",
            ),
            Self::LandlockTooOld(what, needed, found) => {
                write!(f, "landlock: {what} needs abi {needed}, this kernel has {found}")
            }
            Self::LandlockPath(path, errno) => write!(f, "landlock rule for {}: {errno}", path.display()),
            Self::Landlock(call, Some(errno)) => write!(f, "landlock: {call}: {errno}"),
            Self::Landlock(call, None) => write!(f, "landlock: {call}: refused"),
            Self::LandlockPartial => f.write_str("landlock: the kernel enforces a part of the rules only"),
            Self::FilterLength(bytes) => {
                write!(f, "seccomp filter of {bytes} bytes: not 1 to 4096 instructions of 8 bytes")
            }
            Self::FilterRule(length) => {
                write!(f, "seccomp filter: a rule takes {length} instructions, a jump reaches 255: split it")
            }
            Self::Seccomp(errno) => write!(f, "install the seccomp filter: {errno}"),
        }
    }
}

impl std::error::Error for Error {}
