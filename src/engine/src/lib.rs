//! The engine: plans the containers of a file, starts and supervises them, keeps their output, and answers the control socket.
#![forbid(unsafe_code)]

pub mod control;
pub mod launch;
pub mod logs;
pub mod notify;
pub mod plan;
pub mod profile;
pub mod supervise;
