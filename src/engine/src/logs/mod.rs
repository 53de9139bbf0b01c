//! Container output: written exactly once to bounded log files in CRI format, and forwarded to the host's journald or syslog.

pub mod cri;
mod files;
pub mod forwarder;
mod forwarding;
mod host_logs;
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

pub use cri::Stream;
pub use files::Bounds;
pub use forwarder::{Forwarder, HostLog, Origin};
pub use forwarding::Forwarding;
pub use host_logs::{connect_host_logs, connect_manager_log, host_log_of_manager, origins};
pub use lines::Lines;
pub use pump::{Error as PumpError, Pipes, Pump, PumpResult, ScratchPipe};
pub use reader::Reader;
