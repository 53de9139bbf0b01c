//! The Landlock version of the running kernel. landlock_create_ruleset(2).

/// LANDLOCK_CREATE_RULESET_VERSION of linux/landlock.h.
const VERSION: usize = 1;

/// The Landlock ABI version of the running kernel; 0 where Landlock is not built in or not enabled.
pub fn abi() -> u32 {
    // SAFETY: with this flag the kernel takes a null attribute of size 0 and reads no memory of this process.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0_usize, 0_usize, VERSION) };
    u32::try_from(version).unwrap_or(0)
}
