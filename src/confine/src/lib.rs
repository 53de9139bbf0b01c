//! Drop capabilities, Landlock, seccomp: the same code for our programs and for containers.
//!
//! Every function confines the calling thread, cannot be undone, and checks what the kernel made of it; after a failure the
//! thread must end, as it may be confined in part. The order that a container uses: [`capabilities`], [`process`],
//! [`landlock`] after the last mount, [`seccomp`] last.
#![forbid(unsafe_code)]

pub mod capabilities;
pub mod ceiling;
mod error;
pub mod landlock;
pub mod process;
pub mod seccomp;

pub use error::{At, Error};
