//! Installing seccomp filters that casemate-filter made, at build time or for a profile.
//!
//! A thread can stack filters; the strictest answer of all decides. seccomp(2).

use crate::Error;
use casemate_sys::seccomp::{Instruction, MAX_INSTRUCTIONS};

/// Bytes of one instruction.
const INSTRUCTION: usize = 8;

/// A filter of 1 to 4096 instructions. Whether the kernel takes it is seen at [`install`].
#[derive(Clone)]
pub struct Program(Vec<Instruction>);

impl Program {
    /// Reads instructions of 8 bytes, in the order and byte order of `struct sock_filter`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (chunks, rest) = bytes.as_chunks::<INSTRUCTION>();
        if !rest.is_empty() || chunks.is_empty() || chunks.len() > MAX_INSTRUCTIONS {
            return Err(Error::FilterLength(bytes.len()));
        }
        Ok(Self(chunks.iter().map(instruction).collect()))
    }
}

/// One instruction, as it lies in memory.
fn instruction(bytes: &[u8; INSTRUCTION]) -> Instruction {
    let [code_low, code_high, jt, jf, k0, k1, k2, k3] = *bytes;
    Instruction {
        code: u16::from_ne_bytes([code_low, code_high]),
        jt,
        jf,
        k: u32::from_ne_bytes([k0, k1, k2, k3]),
    }
}

/// Stacks the filter on the calling thread, for good; needs no_new_privs. Speculation stays restricted
/// (SECCOMP_FILTER_FLAG_SPEC_ALLOW is not set).
pub fn install(program: &Program) -> Result<(), Error> {
    casemate_sys::seccomp::install(&program.0).map_err(Error::Seccomp)
}

/// Reads a filter and installs it.
pub fn install_bytes(bytes: &[u8]) -> Result<(), Error> {
    install(&Program::from_bytes(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_are_no_filter_are_refused() {
        for length in [0, 1, 7, 9, 8 * 4096 + 8, 8 * 4096 + 1] {
            assert_eq!(Program::from_bytes(&vec![0; length]).err(), Some(Error::FilterLength(length)));
        }
        assert!(Program::from_bytes(&vec![0; 8 * 4096]).is_ok());
    }
}
