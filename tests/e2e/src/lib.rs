//! The harness: real kernel, real programs, no double of anything.
//!
//! A test gets an [`Instance`] with directories of its own, writes a file with [`Spec`], packs payloads with
//! [`Instance::pack_binary`], runs the built programs, and compares the probe's report from inside ([`Instance::report`]) or the state
//! of the host.
//! Dropping the instance proves that nothing of it is left. Every wait polls with a deadline ([`poll`]).
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness reports by panicking: the test that called it has failed"
)]

pub mod cgroups;
pub mod debian;
pub mod host;
mod instance;
mod mode;
pub mod modules;
mod moments;
pub mod oci;
pub mod place;
pub mod poll;
pub mod registry;
mod spec;
pub mod units;
mod up;
pub mod versions;
pub mod web;

pub use casemate_probe::report::Report;
pub use instance::{Instance, Output, finish, parse_report};
pub use mode::{Feature, Mode, needs};
pub use moments::{Moment, Moments};
pub use spec::{Container, Spec, quoted};
pub use up::Up;

/// Makes of `fn NAME(mode) { ... }` two tests: `NAME::as_root` and `NAME::as_user`.
#[macro_export]
macro_rules! both_modes {
    ($($(#[$attribute:meta])* fn $name:ident($mode:ident) $body:block)*) => {
        $($(#[$attribute])* mod $name {
            #[allow(unused_imports, reason = "a short body may use nothing of the file")]
            use super::*;
            fn body($mode: $crate::Mode) $body
            #[test]
            fn as_root() {
                $crate::Mode::Root.run(concat!(module_path!(), "::as_root"), body);
            }
            #[test]
            fn as_user() {
                $crate::Mode::User.run(concat!(module_path!(), "::as_user"), body);
            }
        })*
    };
}

/// Makes of `fn NAME(casemate, units) { ... }` a test of the two services of an instance, for root.
#[macro_export]
macro_rules! services {
    ($(#[$attribute:meta])* fn $name:ident($casemate:ident, $units:pat) $body:block) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            if !$crate::needs(concat!(module_path!(), "::", stringify!($name)), &[$crate::Feature::Root]) {
                return;
            }
            let $casemate = $crate::Instance::new($crate::Mode::Root);
            let $units = $crate::units::Units::new(&$casemate);
            $body
        }
    };
}
