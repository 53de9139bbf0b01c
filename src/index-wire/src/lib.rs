//! The index of an archive, from `casemate-unpack index` to the manager. A crate of its own, because the helper does not use it.
#![forbid(unsafe_code)]

use casemate_wire::{Error, Failure, decode_within, encode_within};
use serde::{Deserialize, Serialize};

/// The longest encoded [`IndexOutcome`] in bytes. It goes through a pipe, not in a packet.
pub const MAX_INDEX: usize = 16 * 1024 * 1024;

/// A regular file of an image archive. A hard or symbolic link to a file is listed under its own name with the file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Relative, without `.`, `..` and empty components. Each path stands once: the last member of that name.
    pub path: String,
    /// Offset of its content in the archive.
    pub offset: u64,
    /// Bytes of its content, all within the archive.
    pub size: u64,
}

/// The output of `casemate-unpack index` on descriptor 1, by [`encode`]; sorted by path.
pub type IndexOutcome = Result<Vec<Member>, Failure>;

/// Encodes an index.
pub fn encode(outcome: &IndexOutcome) -> Result<Vec<u8>, Error> {
    encode_within(MAX_INDEX, outcome)
}

/// Decodes an index; every byte has to belong to it.
pub fn decode(bytes: &[u8]) -> Result<IndexOutcome, Error> {
    decode_within(MAX_INDEX, bytes)
}
