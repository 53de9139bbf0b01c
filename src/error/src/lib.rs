//! The report error of verbs (object, step, reason, remedy, exit code), and the escaping of untrusted text for terminals.
#![forbid(unsafe_code)]

mod code;
mod error;
mod printable;

pub use code::Code;
pub use error::Error;
pub use printable::{bytes, escaped, printable};
