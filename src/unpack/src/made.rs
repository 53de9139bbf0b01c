//! What this layer has made so far, so that its whiteouts take only what its parents have, whatever the order of entries
//! (OCI image-spec, layer.md: "files that are present in the same layer as a whiteout file can only be hidden by whiteout
//! files in subsequent layers"). 17 bytes an entry: paths by a digest, because names are hostile and may be long.

use crate::path::split;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

/// How a path came to be in this layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// An entry says so.
    Entry,
    /// Something below it is an entry.
    Passed,
}

/// Paths from the root, free of symbolic links.
#[derive(Default)]
pub struct Made(HashMap<[u8; 16], Mark>);

impl Made {
    /// An entry was made; the directories above it are marked by [`Self::pass`].
    pub fn add(&mut self, path: &[u8]) {
        self.0.insert(key(path), Mark::Entry);
    }

    /// This directory and all above it are passed by an entry. Where one is marked, all above it are.
    pub fn pass(&mut self, mut path: &[u8]) {
        while !path.is_empty() {
            if self.0.contains_key(&key(path)) {
                return;
            }
            self.0.insert(key(path), Mark::Passed);
            path = split(path).0;
        }
    }

    /// How this path came to be; `None`: it is the parents'.
    pub fn get(&self, path: &[u8]) -> Option<Mark> {
        self.0.get(&key(path)).copied()
    }
}

fn key(path: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(path).into();
    let mut key = [0; 16];
    key.copy_from_slice(digest.first_chunk::<16>().unwrap_or(&[0; 16]));
    key
}
