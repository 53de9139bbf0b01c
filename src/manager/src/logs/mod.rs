//! What containers write: kept in files of the CRI log format, bounded, exactly once.

pub mod cri;
mod files;
mod journal;
pub mod journald;
#[cfg(test)]
mod kill_test;
mod pump;
mod reader;

pub use cri::Stream;
pub use files::Bounds;
pub use journald::Journald;
pub use pump::{Error as PumpError, Glass, Pipes, Pump, Turn};
pub use reader::Reader;
