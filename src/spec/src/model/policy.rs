//! `[policy]` and `[store]`: what holds for the whole file.

use crate::finding::Findings;
use crate::item::{At, Item};
use crate::keys::{Key, file as keys};
use crate::rules;
use crate::types::ValueType;
use crate::values::{AbsolutePath, ByteSize};
use crate::view::View;

/// `[policy]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Limits that every container has to state itself.
    pub require_limits: Vec<Limit>,
}

impl Policy {
    pub(crate) fn read(table: &View<'_>) -> Option<Self> {
        Some(Self { require_limits: table.get(&keys::REQUIRE_LIMITS)? })
    }
}

/// `[store]`: how images are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePolicy {
    /// Read-only image stores that are used in place, in the order in which they are searched.
    pub preload: Vec<AbsolutePath>,
    /// Applied files that are kept, the one in force included; 1 and up. Images that none of them names may be collected.
    pub keep: usize,
    /// Bytes that an import leaves free on the store's file system; 0: it may fill it.
    pub free_space: u64,
    /// When the files of layers are proven.
    pub verify: Verify,
    /// Blobs that a pull downloads at the same time, 1 and up.
    pub max_concurrent_downloads: u8,
    /// Bytes a second of all downloads together, where that is bounded.
    pub max_download_rate: Option<ByteSize>,
}

impl StorePolicy {
    /// A key whose value has an error counts as left out: the verbs that read an applied file later go on with its default.
    pub(crate) fn read(table: &View<'_>) -> Self {
        Self {
            preload: value(table, &keys::PRELOAD),
            keep: value(table, &keys::KEEP).into(),
            free_space: value(table, &keys::FREE_SPACE),
            verify: value(table, &keys::VERIFY),
            max_concurrent_downloads: value(table, &keys::MAX_CONCURRENT_DOWNLOADS),
            max_download_rate: table.get(&keys::MAX_DOWNLOAD_RATE),
        }
    }

    /// Notes a list of stores that is too long.
    pub(crate) fn few_preloaded(list: &[At<AbsolutePath>], item: &Item<'_>, out: &mut Findings<'_>) {
        const MOST: usize = 8;
        if list.len() > MOST {
            out.add(&rules::NUMBER, &item.span, format!("`{}` has at most {MOST} paths", item.name));
        }
    }
}

/// The value of a key of `[store]`, else its default. Each of these keys has one; a test holds them to it.
fn value<K: ValueType<Value: Default>>(table: &View<'_>, key: &Key<K>) -> K::Value {
    table.get_or_default(key).unwrap_or_default()
}

impl Default for StorePolicy {
    /// What a file without `[store]` gets.
    fn default() -> Self {
        Self::read(&View::absent(&keys::STORE))
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

impl Limit {
    /// Notes a limit that stands in the list twice.
    pub(crate) fn each_once(list: &[At<Self>], _: &Item<'_>, out: &mut Findings<'_>) {
        let mut seen = std::collections::BTreeSet::new();
        for limit in list.iter().filter(|limit| !seen.insert(limit.value)) {
            out.add(&rules::WORD, &limit.span, "this limit stands in the list twice").help("remove one of the two");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_store_keeps_two_revisions_and_bounds_downloads() {
        let silent = StorePolicy::default();
        assert_eq!((silent.keep, silent.max_concurrent_downloads, silent.verify), (2, 3, Verify::Pull));
        assert_eq!((silent.preload, silent.free_space, silent.max_download_rate), (Vec::new(), 0, None));
    }
}
