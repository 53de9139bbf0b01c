//! Registries, from the manager's side: which servers a file lets casemate-fetch connect to, with which credentials, and the
//! connection to casemate-fetch.
//!
//! Enters: the file's `[registries]` tables, and the caller's files that they name. Leaves: a [`FetchConfig`] for casemate-fetch, and
//! downloaded bytes that are not verified yet. The manager itself opens no network connection.

pub mod auth;
pub mod connection;
pub mod fetch_config;

pub use connection::Connection;
pub use fetch_config::{ImageRequest, RegistryAccess};

pub use casemate_fetch_wire::FetchConfig;
pub(crate) use casemate_fetch_wire::{Get, Object, PushObject, Put};
