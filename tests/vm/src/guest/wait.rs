//! Waiting in an emulated machine on a busy one.

use casemate_e2e::poll;
use std::time::Duration;

/// Only a test that fails waits so long. Less than the other side's patience with a machine that says nothing.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Asks until there is an answer; panics with `what` when [`PATIENCE`] is over.
#[track_caller]
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    poll::within(PATIENCE, ask).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
}
