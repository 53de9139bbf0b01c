//! Seccomp filters: the baseline below every container, the profile that comes with a job, allow lists for our programs.
//!
//! A thread can stack filters; the strictest answer of all decides. seccomp(2).

mod allow;
mod baseline;
mod table;
mod tree;

pub use allow::{Call, Condition, Operator, Otherwise, allow_list, compile};
pub use baseline::{baseline, realm};
pub use table::{Lookup, highest, lookup};

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

    /// What [`Self::from_bytes`] reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * INSTRUCTION);
        for instruction in &self.0 {
            bytes.extend_from_slice(&instruction.code.to_ne_bytes());
            bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
            bytes.extend_from_slice(&instruction.k.to_ne_bytes());
        }
        bytes
    }

    /// The instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    fn new(program: Vec<Instruction>) -> Result<Self, Error> {
        if program.is_empty() || program.len() > MAX_INSTRUCTIONS {
            return Err(Error::FilterLength(program.len() * INSTRUCTION));
        }
        Ok(Self(program))
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

/// The filter's answer that fails the call with this error number.
fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | (number.unsigned_abs() & libc::SECCOMP_RET_DATA)
}

#[cfg(test)]
mod tests;
