//! Seccomp profiles: TOML to classic BPF. Pure.
//!
//! Input: the text of a built-in profile, or of a file with the pinned digest. Output: a program that allows the system calls of the
//! rules and answers EPERM to all others. Unknown keys and unknown system calls are errors.

mod format;

pub use format::Error;

use casemate_filter::{Otherwise, Program};

/// `casemate:service`.
pub const SERVICE: &str = include_str!("../../../../policies/seccomp/service.toml");
/// `casemate:minimal`.
pub const MINIMAL: &str = include_str!("../../../../policies/seccomp/minimal.toml");

/// Compiles a profile.
pub fn compile(text: &str) -> Result<Program, Error> {
    casemate_filter::compile(&format::read(text)?, Otherwise::Refuse).map_err(Error::Compile)
}

#[cfg(test)]
mod tests;
