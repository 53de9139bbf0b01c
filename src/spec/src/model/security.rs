//! Confinement of a container.

use crate::finding::{Findings, quoted};
use crate::item::{At, Item};
use crate::keys::confinement as keys;
use crate::rules;
use crate::types::{Capability, ValueType};
use crate::values::AbsolutePath;
use crate::view::View;
use casemate_wire::Digest;

/// Confinement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// The system call profile, on top of the helper's baseline.
    pub seccomp: Seccomp,
    /// Lists that replace Landlock rules which the plan derives.
    pub landlock: Landlock,
    /// Capabilities that it holds, each within the ceiling, by the kernel's number; normally none.
    pub cap_add: Vec<u8>,
    /// Paths hidden besides the built-in ones, sorted.
    pub masked_paths: Vec<AbsolutePath>,
    /// Paths made read-only besides the built-in ones.
    pub read_only_paths: Vec<AbsolutePath>,
}

impl Security {
    pub(crate) fn read(table: &View<'_>) -> Option<Self> {
        let mut masked_paths = table.get(&keys::MASKED_PATHS)?;
        masked_paths.sort();
        masked_paths.dedup();
        Some(Self {
            seccomp: table.get(&keys::SECCOMP_PROFILE)?,
            landlock: table.get(&keys::LANDLOCK_RULES)?,
            cap_add: table.get(&keys::CAP_ADD)?,
            masked_paths,
            read_only_paths: table.get(&keys::READ_ONLY_PATHS)?,
        })
    }

    /// Notes a capability that stands in the list twice.
    pub(crate) fn each_capability_once(list: &[At<u8>], item: &Item<'_>, out: &mut Findings<'_>) {
        let mut seen = std::collections::BTreeSet::new();
        for capability in list.iter().filter(|capability| !seen.insert(capability.value)) {
            let name = Capability.show(&capability.value);
            let message = format!("{} names the capability `{}` twice", quoted(item.name), name.trim_matches('"'));
            out.add(&rules::CAPABILITY, &capability.span, message).help("remove one of the two");
        }
    }
}

/// A system call profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seccomp {
    /// `casemate:service`.
    Service,
    /// `casemate:minimal`.
    Minimal,
    /// A file, proven by its digest; a relative path begins at the directory of casemate.toml.
    File {
        /// Absolute, or relative without `..`.
        profile: String,
        /// Its sha256.
        sha256: Digest,
    },
}

impl Seccomp {
    /// `{ profile = "...", sha256 = "..." }`.
    pub(crate) fn file(table: &View<'_>, _: &mut Findings<'_>) -> Option<Self> {
        Some(Self::File { profile: table.get(&keys::PROFILE)?, sha256: table.get(&keys::PROFILE_SHA256)? })
    }
}

/// Landlock rules of the file. `landlock = true` has none of the lists: the plan derives all rules from root and mounts. A list
/// replaces the derived rules of its kind. Signals and abstract sockets are always scoped to the container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Landlock {
    /// Paths below which files may be read.
    pub read: Option<Vec<AbsolutePath>>,
    /// Paths below which files may be changed.
    pub write: Option<Vec<AbsolutePath>>,
    /// Paths below which files may be executed.
    pub execute: Option<Vec<AbsolutePath>>,
    /// TCP ports that may be bound.
    pub bind_tcp: Option<Vec<u16>>,
    /// TCP ports that may be connected to.
    pub connect_tcp: Option<Vec<u16>>,
}

impl Landlock {
    pub(crate) fn read(table: &View<'_>) -> Self {
        Self {
            read: table.get(&keys::LANDLOCK_READ),
            write: table.get(&keys::LANDLOCK_WRITE),
            execute: table.get(&keys::LANDLOCK_EXECUTE),
            bind_tcp: table.get(&keys::LANDLOCK_BIND),
            connect_tcp: table.get(&keys::LANDLOCK_CONNECT),
        }
    }
}
