//! What a verb reports when it cannot do what was asked: object, step, reason, what to do, and the exit code that goes with it;
//! and text from outside made harmless for a terminal.
#![forbid(unsafe_code)]

mod code;
mod error;
mod printable;

pub use code::Code;
pub use error::Error;
pub use printable::{bytes, escaped, printable};
