//! Containers, without the server that is asked for them: a job is checked, gets a cgroup, and a new process takes the steps
//! that end in execve.
//!
//! Enters: a decoded [`casemate_wire::Job`] or a program for a container that runs, in a process that is root of the outer user
//! namespace (A) and has one thread. Leaves: the new process's pidfd and the pipe on which it reports, or a failure that names
//! the step. One start: [`start`] → its list of steps.
#![forbid(unsafe_code)]

mod baseline;
pub mod cgroup;
mod check;
pub mod child;
pub mod overlay;
pub mod paths;
mod shared;
mod spawn;
mod state;
mod steps;
pub mod tree;
mod volumes;

pub use check::job as check;
pub use shared::Shared;
pub use spawn::{RunningContainer, enter, start};
pub use state::StateDirectory;
pub use steps::dev::make as make_dev;
pub use steps::print as print_steps;
pub use steps::{executed, forked};
