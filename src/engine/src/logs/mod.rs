//! What containers write: kept in files of the CRI log format, bounded, exactly once; and told to the host's journal or syslog.

mod connect;
pub mod cri;
mod files;
pub mod forwarder;
mod forwarding;
mod journal;
mod journald;
#[cfg(test)]
mod kill_test;
mod lines;
pub mod manager_log;
mod pump;
mod reader;
mod record;
mod syslog;

pub use connect::{connect, connect_own, origins, own_host_log};
pub use cri::Stream;
pub use files::Bounds;
pub use forwarder::{Forwarder, HostLog, Origin};
pub use forwarding::Forwarding;
pub use lines::Lines;
pub use pump::{Error as PumpError, Pipes, Pump, ScratchPipe, Turn};
pub use reader::Reader;
