//! The engine: plans the containers of a file, starts and supervises them, keeps their output, and answers the control socket.
//!
//! The life of a manager is told in [`session`]. Its middle is the [`event_loop`]: what files and verbs ask for and what the helper
//! answers goes into the [`table`] of every container's [`state`]; [`reconcile`] and [`graph`] say what follows from it; what happens are [`events`].
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
