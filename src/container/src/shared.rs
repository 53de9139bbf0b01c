//! What all containers of one helper share.

use crate::StateDirectory;
use crate::cgroup::Delegated;
use casemate_sys::process::SingleThreaded;
use casemate_wire::Facts;
use std::os::fd::OwnedFd;

/// What every start and every entering process works with.
#[derive(Debug)]
pub struct Shared {
    /// The helper has one thread, always.
    pub proof: SingleThreaded,
    /// The state directory.
    pub state: StateDirectory,
    /// What this host can do.
    pub facts: Facts,
    /// The delegated cgroups.
    pub cgroups: Delegated,
    /// The common part of `/dev`, attached in the helper's own mount namespace.
    pub dev: OwnedFd,
    /// `casemate-init`.
    pub init: OwnedFd,
}
