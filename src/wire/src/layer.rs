//! Layers: the requests that make, list and remove them, and those of the helper to `casemate-unpack`.

use crate::{Digest, Error, Failure, IdSpace, MALFORMED, decode, encode, hex};
use serde::{Deserialize, Serialize};

/// Request `layers`: the complete layers in the order of their ChainIDs, a page at a time. Answer: [`Layers`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListLayers {
    /// Layers behind this one; `None` for the first page.
    pub after: Option<Digest>,
}

/// Answer `layers`, to `layers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// One page.
    pub layers: Vec<Layer>,
    /// There are more behind the last one of this page.
    pub more: bool,
}

/// A complete layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its ChainID.
    pub chain_id: Digest,
    /// It is a link into a read-only image store.
    pub link: bool,
}

/// Request `unpack`: one layer to prove and write. Descriptor: `blob`. Answer: [`LayerReport`] as `unpacked`, when it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpack {
    /// The blob's digest, proven again while it is read.
    pub blob: Digest,
    /// The blob's size in bytes, exact.
    pub size: u64,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// ChainIDs of the parents, bottom first; all present.
    pub parents: Vec<Digest>,
    /// The layer's own ChainID: it becomes the layer's name. The helper recomputes it.
    pub chain_id: Digest,
    /// Bounds of the layer.
    pub limits: LayerLimits,
    /// Answer only when this layer, and every layer unpacked before it, is on the disk.
    pub sync: bool,
}

/// Bounds of one layer. Passing one is an error, and the layer never appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerLimits {
    /// Uncompressed bytes, tar framing included.
    pub bytes: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of one path.
    pub path: u32,
    /// Components of one path.
    pub depth: u32,
    /// Uncompressed bytes per compressed byte, counted after the first 16 MiB.
    pub ratio: u32,
}

/// What unpacking a layer found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LayerReport {
    /// Entries applied.
    pub entries: u64,
    /// Uncompressed bytes.
    pub bytes: u64,
    /// Device nodes that were not made.
    pub devices: u64,
    /// Files that lost set-uid or set-gid.
    pub set_id: u64,
    /// Extended attributes that were not copied: file capabilities, `trusted.*`, `user.overlay.*` and other refused ones.
    pub xattrs: u64,
    /// Paths of the first 32 things left out, control bytes escaped, with the reason (`dev/sda: block device`).
    pub left_out: Vec<String>,
}

/// Answer `disk-usage`, to `inventory` and `disk-usage`: what lies below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiskUsage {
    /// Files and directories.
    pub entries: u64,
    /// Bytes that they take on the disk.
    pub bytes: u64,
}

/// One layer to prove and write below `/`: the only argument of `casemate-unpack layer`, as [`UnpackRequest::to_argument`]
/// spells it. Descriptor 0 is the blob at its start, 1 the pipe for the [`UnpackOutcome`], 2 the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackRequest {
    /// The blob's digest.
    pub blob: Digest,
    /// The blob's size in bytes, exact.
    pub size: u64,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Bounds of the layer.
    pub limits: LayerLimits,
    /// `Single`: every file belongs to 0. `Range`: each to its entry's ids, which are refused above the range.
    pub ids: IdSpace,
    /// Sync the whole file system before writing the outcome.
    pub sync: bool,
}

/// The last and only thing on descriptor 1 of `casemate-unpack layer`, `list` and `measure`, encoded by [`encode`]; the exit
/// status is 0 or 1 with it. `list` and `measure` fill in entries and bytes, those of the disk.
pub type UnpackOutcome = Result<LayerReport, Failure>;

impl UnpackRequest {
    /// Lower-case hexadecimal digits of its encoding.
    pub fn to_argument(&self) -> Result<String, Error> {
        Ok(hex::encode(&encode(self)?))
    }

    /// Reads what [`Self::to_argument`] wrote.
    pub fn from_argument(text: &str) -> Result<Self, Error> {
        decode(&hex::decode(text).ok_or(MALFORMED)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpack_request_has_one_spelling() {
        let limits = LayerLimits { bytes: 1 << 33, entries: 1 << 20, path: 4096, depth: 128, ratio: 200 };
        let digest = Digest::from_bytes([7; 32]);
        let ids = IdSpace::Range { count: 65535 };
        let request = UnpackRequest { blob: digest, size: 42, diff_id: digest, limits, ids, sync: true };
        let text = request.to_argument().unwrap();
        assert_eq!(UnpackRequest::from_argument(&text), Ok(request));
        for bad in [text[1..].to_owned(), format!("{text}00"), text.to_uppercase(), String::new()] {
            assert_eq!(UnpackRequest::from_argument(&bad), Err(MALFORMED), "{bad}");
        }
    }
}
