//! Processes that are started in a container that runs.

use crate::Name;
use serde::{Deserialize, Serialize};

/// Request `enter`: starts a program in a running container, with the user, namespaces, capabilities, Landlock rules, seccomp
/// filters, resource limits and cgroup of its payload. Answer, after the program's execve: [`Entered`] with the descriptors of
/// [`crate::EnteredDescriptors`]. The process gets SIGKILL when this client's connection ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enter {
    /// The container.
    pub container: Name,
    /// As [`crate::Process::argv`].
    pub argv: Vec<Vec<u8>>,
    /// As [`crate::Process::env`].
    pub env: Vec<Vec<u8>>,
    /// As [`crate::Process::cwd`].
    pub cwd: String,
}

/// Answer `entered`, to `enter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entered {
    /// Names this process in [`ProcessExited`].
    pub process: u64,
}

/// Event `process-exited`, to the client that sent `enter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessExited {
    /// [`Entered::process`].
    pub process: u64,
    /// Its end.
    pub exit: ProcessExit,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessExit {
    /// Exit status, or 128 and the signal.
    pub code: u8,
    /// The signal that ended it, if one did.
    pub signal: Option<u8>,
    /// Nanoseconds of CLOCK_REALTIME.
    pub at: u64,
}
