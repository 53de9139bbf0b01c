//! Installing seccomp filters that casemate-filter made, at build time or for a profile.
//!
//! A thread can stack filters; the strictest answer of all decides. seccomp(2).

use crate::{At, Error};
use casemate_sys::seccomp::{Instruction, MAX_INSTRUCTIONS};
use rustix::io::Errno;

/// Bytes of one instruction.
const INSTRUCTION: usize = 8;

/// Stacks a filter of 1 to 4096 instructions, in the order and byte order of `struct sock_filter`, on the calling thread, for
/// good; needs no_new_privs. Speculation stays restricted (SECCOMP_FILTER_FLAG_SPEC_ALLOW is not set).
pub fn install_bytes(bytes: &[u8]) -> Result<(), Error> {
    let installed = casemate_sys::seccomp::install(&instructions(bytes)?);
    let failed = installed.at("install the seccomp filter");
    if installed == Err(Errno::NOSYS) { failed.map_err(Error::as_not_enforceable) } else { failed }
}

/// The instructions of a filter. Whether the kernel takes them is seen at [`install_bytes`].
pub fn instructions(bytes: &[u8]) -> Result<Vec<Instruction>, Error> {
    let (chunks, rest) = bytes.as_chunks::<INSTRUCTION>();
    if !rest.is_empty() || !(1..=MAX_INSTRUCTIONS).contains(&chunks.len()) {
        let length = bytes.len();
        return Err(Error::container(format_args!(
            "seccomp filter of {length} bytes: not 1 to 4096 instructions of 8 bytes"
        )));
    }
    Ok(chunks.iter().map(instruction).collect())
}

/// One instruction, as it lies in memory.
fn instruction(&[code0, code1, jt, jf, k0, k1, k2, k3]: &[u8; INSTRUCTION]) -> Instruction {
    Instruction { code: u16::from_ne_bytes([code0, code1]), jt, jf, k: u32::from_ne_bytes([k0, k1, k2, k3]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_are_no_filter_are_refused() {
        for length in [0, 1, 7, 9, 8 * 4096 + 8, 8 * 4096 + 1] {
            let error = instructions(&vec![0; length]).expect_err("a error").to_string();
            assert!(error.starts_with(&format!("seccomp filter of {length} bytes")), "{error}");
        }
        assert!(instructions(&vec![0; 8 * 4096]).is_ok());
    }
}
