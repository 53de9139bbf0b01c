//! The state of a container: what is desired of it, and what was observed.

mod backoff;
mod container;

pub use backoff::{Backoff, Next};
pub use container::{Container, ContainerConfig, Desired, End, Goal, Observed, Phase, Resource, Run, RunConfig, Stop};
