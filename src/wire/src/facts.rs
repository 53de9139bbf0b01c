//! What this host and this way of running can do, as the helper found it at its start.

use serde::{Deserialize, Serialize};

/// The answer to `facts`. The default is a host that can do nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// [`crate::JOB_VERSION`] of the helper: it starts jobs of this version only.
    pub job_version: u16,
    /// The ids of the outer user namespace (A).
    pub ids: IdSpace,
    /// Controllers that can be used.
    pub cgroup: CgroupFacts,
    /// Landlock ABI; 0 without Landlock.
    pub landlock: u32,
}

/// The ids of the outer user namespace (A).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum IdSpace {
    /// An ordinary user's: 0 alone.
    #[default]
    Single,
    /// 0 and 1..=count.
    Range {
        /// How many ids follow 0.
        count: u32,
    },
}

/// Controllers that the helper can set for its containers, by the names of cgroup v2 (`io` also stands for blkio).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CgroupFacts {
    /// On the unified hierarchy.
    pub v2: Vec<String>,
    /// On hierarchies of their own.
    pub v1: Vec<String>,
}
