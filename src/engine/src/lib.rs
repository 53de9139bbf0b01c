//! The engine: plans the containers of a file, starts and supervises them, stores their output, and serves the control socket.
//!
//! One container's way from the file to the helper's Start request: [`session`] (a manager from start to end) → [`prepare`] (file to
//! configs, in the background) → [`plan`] (one container to a job) → [`table`] and [`reconcile`] (the next action) → event loop (performs
//! it) → helper (sends the request).
#![forbid(unsafe_code)]

pub mod background;
mod collect;
mod console;
pub mod control;
mod event_loop;
mod events;
pub mod file;
pub mod graph;
mod helper;
pub mod launch;
pub mod logs;
pub mod notify;
mod pid;
pub mod plan;
pub mod prepare;
pub mod profile;
pub mod reactor;
pub mod reconcile;
pub mod revisions;
pub mod session;
pub mod state;
mod status;
pub mod table;
mod writer;

pub use event_loop::{Outcome, RunMode};
