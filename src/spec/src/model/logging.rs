//! Where output goes: that of containers, and casemate's own.

use crate::keys::confinement as keys;
use crate::values::ByteSize;
use crate::view::View;

/// Where a container's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogDriver {
    /// To its log files.
    File,
    /// To its log files, and each line to the host's journal.
    Journald,
    /// To its log files, and each line to the host's syslog.
    Syslog,
}

/// A container's output: where it goes, and the bounds of its log files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logging {
    /// Where it goes.
    pub driver: LogDriver,
    /// Size of one file.
    pub max_size: ByteSize,
    /// Files kept, the one being written included; 1 and up.
    pub max_file: u32,
}

impl Logging {
    pub(crate) fn read(table: &View<'_>) -> Option<Self> {
        Some(Self {
            driver: table.get(&keys::LOG_DRIVER)?,
            max_size: table.get(&keys::LOG_MAX_SIZE)?,
            max_file: table.get(&keys::LOG_MAX_FILE)?,
        })
    }
}

/// `appliance.log`: where casemate's own log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagerLog {
    /// To standard error, which is the unit's journal in a service.
    Stderr,
    /// To the host's journal, with fields.
    Journald,
    /// To the host's syslog.
    Syslog,
}
