//! Compiles lists of system calls into seccomp filters.
//!
//! Enters: lists of allowed or denied system calls. Leaves: instructions for seccomp(2). The helper's filters are compiled at build
//! time, so the helper links no compiler; the manager compiles profiles when a file is planned.
#![forbid(unsafe_code)]

mod allow;
mod baseline;
mod condition;
mod table;
mod tree;

pub use allow::{Call, Otherwise, allow_list, compile};
pub use baseline::{baseline, listener, manager, outer};
pub use condition::{Condition, Operator};
pub use table::{Lookup, highest, lookup};

use std::fmt;

/// Most instructions of one filter (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

/// Why a list cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The filter needs this many instructions; the kernel takes 1 to 4096.
    Length(usize),
    /// A rule needs this many instructions; a conditional jump skips 255 at most.
    Rule(usize),
    /// A condition names this argument; system calls have arguments 0 to 5.
    Argument(u8),
    /// No known architecture has a system call of this name.
    UnknownSystemCall(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(count) => {
                write!(f, "the filter needs {count} instructions; the kernel takes 1 to {MAX_INSTRUCTIONS}")
            }
            Self::Rule(count) => {
                write!(f, "a rule needs {count} instructions; at most 255 are possible: give it fewer conditions")
            }
            Self::Argument(number) => write!(f, "there is no argument {number}, only 0 to 5"),
            Self::UnknownSystemCall(name) => {
                write!(f, "no architecture has a system call {}", name.escape_debug())
            }
        }
    }
}

impl std::error::Error for Error {}

/// One instruction: `struct sock_filter` of linux/filter.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation code.
    pub code: u16,
    /// Instructions to skip when the comparison is true.
    pub jt: u8,
    /// Instructions to skip when the comparison is false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// A filter of 1 to 4096 instructions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(Vec<Instruction>);

impl Program {
    fn new(program: Vec<Instruction>) -> Result<Self, Error> {
        if program.is_empty() || program.len() > MAX_INSTRUCTIONS {
            return Err(Error::Length(program.len()));
        }
        Ok(Self(program))
    }

    /// The instructions in the memory layout of `struct sock_filter`, 8 bytes each.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 8);
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
}

/// The seccomp action that fails the call with this error number.
fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | (number.unsigned_abs() & libc::SECCOMP_RET_DATA)
}

#[cfg(test)]
mod tests;
