//! Between the one that starts `casemate-unpack` and the program itself: the order in its argument, the outcome on its pipe.

use crate::{Digest, Failure, IdSpace, LayerLimits, LayerReport, MALFORMED, WireError};
use crate::{decode, encode, hex};
use serde::{Deserialize, Serialize};

/// One layer to prove and write below `/`: the only argument of `casemate-unpack layer`, as [`UnpackOrder::argument`] spells it.
/// Descriptor 0 is the blob at its start, 1 the pipe for the [`UnpackOutcome`], 2 the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackOrder {
    /// The blob's digest.
    pub blob: Digest,
    /// The blob's size in bytes, exact.
    pub size: u64,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Where to stop.
    pub limits: LayerLimits,
    /// `Single`: every file belongs to 0. `Range`: each to its entry's ids, which are refused above the range.
    pub ids: IdSpace,
    /// Whether the whole file system is on the disk before the outcome is told.
    pub sync: bool,
}

/// The last and only thing on descriptor 1 of `casemate-unpack`, encoded by [`encode`]; the exit status is 0 or 1 with it.
pub type UnpackOutcome = Result<LayerReport, Failure>;

impl UnpackOrder {
    /// The order as an argument: lower-case hexadecimal digits of its encoding.
    pub fn argument(&self) -> Result<String, WireError> {
        Ok(hex::encode(&encode(self)?))
    }

    /// Reads what [`Self::argument`] wrote.
    pub fn from_argument(text: &str) -> Result<Self, WireError> {
        decode(&hex::decode(text).ok_or(MALFORMED)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_one_spelling() {
        let limits = LayerLimits { bytes: 1 << 33, entries: 1 << 20, path: 4096, depth: 128, ratio: 200 };
        let digest = Digest::from_bytes([7; 32]);
        let ids = IdSpace::Range { count: 65535 };
        let order = UnpackOrder { blob: digest, size: 42, diff_id: digest, limits, ids, sync: true };
        let text = order.argument().unwrap();
        assert_eq!(UnpackOrder::from_argument(&text), Ok(order));
        for bad in [text[1..].to_owned(), format!("{text}00"), text.to_uppercase(), String::new()] {
            assert_eq!(UnpackOrder::from_argument(&bad), Err(MALFORMED), "{bad}");
        }
    }
}
