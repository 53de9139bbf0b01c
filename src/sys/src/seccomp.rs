//! Installing a seccomp filter. seccomp(2).

use rustix::io::{Errno, Result};

pub use libc::sock_filter as Instruction;

/// Most instructions of one filter (BPF_MAXINSNS).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Stacks the filter on those of the calling thread, for good. Needs no_new_privs, or CAP_SYS_ADMIN.
///
/// EINVAL where the kernel's checker refuses the program, EACCES without no_new_privs.
pub fn install(program: &[Instruction]) -> Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    // The kernel only reads through the pointer; libc's type has no const variant.
    let header = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: `header` and the slice it names outlive the call, the length is the slice's own, and the kernel copies both
    // before it returns.
    crate::check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0_usize, &raw const header) })
        .map(drop)
}
