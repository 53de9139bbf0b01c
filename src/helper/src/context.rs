//! What the requests of clients work with.

use casemate_container::Shared;
use std::os::fd::OwnedFd;

/// What every start and every unpack in A works with.
pub struct Context {
    /// The part for containers.
    pub shared: Shared,
    /// `casemate-unpack`.
    pub unpack: OwnedFd,
}
