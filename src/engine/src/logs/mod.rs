//! What containers write: kept in files of the CRI log format, bounded, exactly once; and told to the host's journal or syslog.

pub mod cri;
mod files;
pub mod host;
mod journal;
mod journald;
#[cfg(test)]
mod kill_test;
pub mod own;
mod pump;
mod reader;
mod syslog;

pub use cri::Stream;
pub use files::Bounds;
pub use host::{Host, Kind, Origin};
pub use pump::{Error as PumpError, Glass, Pipes, Pump, Turn};
pub use reader::Reader;
