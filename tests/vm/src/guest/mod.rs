//! The side that is booted: runs the tests of this boot, one after the other, reports each outcome, and powers off.

pub mod apparmor;
pub mod appliance;
mod command;
pub mod crash;
pub mod host;
pub mod install;
pub mod journal;
pub mod limits;
pub mod power;
pub mod pull;
mod run;
pub mod service;
mod wait;
pub mod watchdog;
mod whole;

pub use run::main;
