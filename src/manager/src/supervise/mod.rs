//! The event loop: starts, logs, restarts, adoption.

pub mod logs;
