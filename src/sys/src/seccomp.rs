//! Installation of a seccomp filter. seccomp(2).

use rustix::io::{Errno, Result};

pub use libc::sock_filter as Instruction;

/// Most instructions of one filter (BPF_MAXINSNS).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Adds a filter to those of the calling thread; it cannot be removed again. Needs no_new_privs or CAP_SYS_ADMIN.
///
/// # Errors
/// EINVAL if the kernel's checker refuses the program, EACCES without no_new_privs and CAP_SYS_ADMIN.
pub fn install(program: &[Instruction]) -> Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    // The kernel only reads through the pointer; libc's type has no const variant.
    let header = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: `header` and the slice that it points to outlive the call, the length is the slice's own, and the kernel copies
    // both before it returns.
    crate::check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0_usize, &raw const header) })
        .map(drop)
}
