//! The state of a container: desired (by the file and verbs) and observed (from the helper).

mod backoff;
mod container;

pub use backoff::{Backoff, RestartDecision};
pub use container::{
    Container, ContainerConfig, Desired, DesiredState, End, Observed, Phase, Resource, Run, RunConfig, StopProgress,
};
