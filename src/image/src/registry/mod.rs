//! Registries, from the manager's side: whom a file lets casemate-fetch speak to, with which login, and the conversation with it.
//!
//! Enters: the file's tables, and the caller's files that they name. Leaves: [`Terms`] for casemate-fetch, and bytes that nobody
//! has proven yet. The manager itself opens no connection.

pub mod auth;
mod lane;
mod terms;

pub use lane::{Lane, LaneError};
pub use terms::{Reached, TermsError, Wanted, reach, reach_one};

pub use casemate_fetch_wire::{Failure, Get, Object, Put, Sent, Step, Terms};
