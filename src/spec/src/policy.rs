//! What holds for the whole file and not for one container: `[policy]` and `[store]`, resolved.

use super::values::{AbsolutePath, ByteSize};

/// `[policy]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Limits that every container has to state itself.
    pub require_limits: Vec<Limit>,
}

/// `[store]`: how images are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePolicy {
    /// Stores of others that are used in place and never written, in the order in which they are asked.
    pub preload: Vec<AbsolutePath>,
    /// Applied files that are kept, the one in force included; 1 and up. What none of them names may be collected.
    pub keep: usize,
    /// Bytes that an import leaves free on the store's file system; 0: it may fill it.
    pub free_space: u64,
    /// When the files of layers are proven.
    pub verify: Verify,
    /// Blobs that a pull brings at the same time, 1 and up.
    pub max_concurrent_downloads: u8,
    /// Bytes a second of all of them together, where that is bounded.
    pub max_download_rate: Option<ByteSize>,
}

impl Default for StorePolicy {
    fn default() -> Self {
        Self {
            preload: Vec::new(),
            keep: 2,
            free_space: 0,
            verify: Verify::Pull,
            max_concurrent_downloads: 3,
            max_download_rate: None,
        }
    }
}

/// `store.verify`: when the files of layers are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// When they are unpacked.
    #[default]
    Pull,
    /// Then, and again before every start of a container.
    Start,
}

/// A limit that `policy.require_limits` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// `resources.memory`.
    Memory,
    /// `resources.pids`.
    Pids,
    /// `resources.cpus`.
    Cpus,
}
