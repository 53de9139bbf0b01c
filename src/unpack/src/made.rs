//! What this layer has made so far, so that its whiteouts take only what its parents have, whatever the order of entries
//! (OCI image-spec, layer.md: "files that are present in the same layer as a whiteout file can only be hidden by whiteout
//! files in subsequent layers"). 16 bytes an entry: paths by a hash, because names are hostile and may be long; its key is a random
//! one of this process, so that no other process can write a colliding path.

use crate::budget::Budget;
use crate::path::split;
use casemate_wire::Failure;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

/// What an entry takes, in nodes of a tree that are two thirds full.
const ENTRY: usize = 16;

/// How a path came to be in this layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// An entry says so.
    Entry,
    /// Something below it is an entry.
    Passed,
}

/// Paths from the root, free of symbolic links.
pub struct Made {
    marks: BTreeMap<u64, Mark>,
    key: RandomState,
    budget: Budget,
}

impl Made {
    /// Nothing yet.
    pub fn new(budget: Budget) -> Self {
        Self { marks: BTreeMap::new(), key: RandomState::new(), budget }
    }

    /// An entry was made; the directories above it are marked by [`Self::pass`].
    pub fn add(&mut self, path: &[u8]) -> Result<(), Failure> {
        self.mark(path, Mark::Entry)
    }

    /// This directory and all above it are passed by an entry. Where one is marked, all above it are.
    pub fn pass(&mut self, mut path: &[u8]) -> Result<(), Failure> {
        while !path.is_empty() && self.get(path).is_none() {
            self.mark(path, Mark::Passed)?;
            path = split(path).0;
        }
        Ok(())
    }

    /// How this path came to be; `None`: it is the parents'.
    pub fn get(&self, path: &[u8]) -> Option<Mark> {
        self.marks.get(&self.key.hash_one(path)).copied()
    }

    fn mark(&mut self, path: &[u8], mark: Mark) -> Result<(), Failure> {
        if self.marks.insert(self.key.hash_one(path), mark).is_none() {
            self.budget.take(ENTRY)?;
        }
        Ok(())
    }
}
