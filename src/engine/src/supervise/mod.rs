//! Containers under supervision: started in file order, their output kept, restarted as the file says, stopped in reverse order.
//!
//! One thread, one loop ([`Attendance::run`]): it waits for signals, the helper's events, output, the control socket and the clock, and
//! lets [`Supervisor`] take one step at a time. What takes long goes on beside it ([`Attendance::beside`]). The manager may be killed at any moment: the helper keeps containers and pipes,
//! and the next manager takes over what runs.

mod adopt;
mod apply;
mod ask;
mod backoff;
mod container;
mod outlet;
mod pid;
mod report;
pub mod revisions;
mod run;
mod show;
mod supervisor;

pub use container::Order;
pub use report::Report;
pub use run::{Attendance, Ending, Stay};
pub use show::Show;
pub use supervisor::Supervisor;

use casemate_client::ClientError;
use casemate_error::Code;
use casemate_wire::Name;
use std::fmt;

/// Why supervising ended before its time. Containers that run go on, if the helper does.
#[derive(Debug)]
pub enum Error {
    /// The helper, or the talk with it.
    Helper(ClientError),
    /// The log of a container cannot be opened.
    Logs(Name, crate::logs::PumpError),
    /// What all logs need.
    Glass(crate::logs::PumpError),
    /// A system call of the loop.
    System(&'static str, std::io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Helper(ClientError::Closed) => {
                f.write_str("helper: supervise: it has ended, and every container with it; its log says why")
            }
            Self::Helper(error) => error.fmt(f),
            Self::Logs(name, error) => write!(f, "{name}: {error}"),
            Self::Glass(error) => write!(f, "manager: {error}"),
            Self::System(step, error) => write!(f, "manager: {step}: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for casemate_error::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Helper(error @ ClientError::Failed(_)) => error.into(),
            error => Self::told(Code::Failed, error),
        }
    }
}
