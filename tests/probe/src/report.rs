//! The report: one section a question, each gathered on its own so that one refusal leaves the others standing.

mod files;
mod ids;
mod limits;
mod mounts;
mod procfs;
mod surroundings;

pub use files::{Descriptor, Writable};
pub use ids::{CapabilitySets, Identity};
pub use mounts::Mount;
pub use procfs::Procfs;
pub use surroundings::Surroundings;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The sandbox as seen from inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who the payload is and what it may.
    pub identity: Identity,
    /// Forbidden calls and the answer to each.
    pub calls: BTreeMap<String, String>,
    /// `FAMILY/TYPE` and the answer of socket().
    pub sockets: BTreeMap<String, String>,
    /// All mounts, as mountinfo has them.
    pub mounts: Vec<Mount>,
    /// Open descriptors.
    pub descriptors: Vec<Descriptor>,
    /// What can be written.
    pub writable: Writable,
    /// What procfs shows.
    pub procfs: Procfs,
    /// Soft and hard limits; `unlimited` where there is none.
    pub limits: BTreeMap<String, (String, String)>,
    /// Everything around the process that is a fact and no question.
    pub surroundings: Surroundings,
}

/// Asks everything.
pub fn gather() -> Report {
    // The descriptors come first: later questions open files.
    let descriptors = files::descriptors();
    Report {
        identity: ids::gather(),
        calls: crate::trial::all_calls(),
        sockets: crate::trial::all_sockets(),
        mounts: mounts::gather(),
        descriptors,
        writable: files::writable(),
        procfs: procfs::gather(),
        limits: limits::gather(),
        surroundings: surroundings::gather(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_json() {
        let report = gather();
        let text = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
