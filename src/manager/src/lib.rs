//! The manager: text to spec, spec to plan, plan to running containers.
#![forbid(unsafe_code)]

pub mod image;
pub mod spec;
