//! What `casemate-unpack index` tells the manager of an archive. Apart from casemate-wire, because the helper has no part in it.
#![forbid(unsafe_code)]

use casemate_wire::{Error, Failure, decode_within, encode_within};
use serde::{Deserialize, Serialize};

/// The longest encoded [`IndexOutcome`], in bytes. It comes through a pipe, not in a packet.
pub const MAX_INDEX: usize = 16 * 1024 * 1024;

/// A regular member of an image archive. A hard or symbolic link to one stands here under its own name with the same content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Relative, no `.`, no `..`, no empty component. Each path stands once: the last of its name in the archive.
    pub path: String,
    /// Where its bytes begin in the archive.
    pub offset: u64,
    /// How many they are; they lie within the archive.
    pub size: u64,
}

/// The last and only thing on descriptor 1 of `casemate-unpack index`, by [`encode`]; sorted by path.
pub type IndexOutcome = Result<Vec<Member>, Failure>;

/// Encodes an index.
pub fn encode(outcome: &IndexOutcome) -> Result<Vec<u8>, Error> {
    encode_within(MAX_INDEX, outcome)
}

/// Decodes an index; every byte must be used.
pub fn decode(bytes: &[u8]) -> Result<IndexOutcome, Error> {
    decode_within(MAX_INDEX, bytes)
}
