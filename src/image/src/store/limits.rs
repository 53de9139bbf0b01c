//! How large an image may be. Exceeding a limit fails the import or pull that reads it.

use crate::error::Error;
use casemate_wire::{LayerLimits, LayerReport};

/// Limits of one image. Exceeding one is an error, and the store stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one blob as it is distributed.
    pub blob: u64,
    /// Uncompressed bytes of all layers together.
    pub bytes: u64,
    /// Entries of all layers together.
    pub entries: u64,
    /// Limits of one layer; those of the image apply to it too.
    pub layer: LayerLimits,
}

impl Default for Limits {
    fn default() -> Self {
        let layer = LayerLimits { bytes: 8 << 30, entries: 1_000_000, path: 4096, depth: 128, ratio: 200 };
        Self { blob: 8 << 30, bytes: 16 << 30, entries: 2_000_000, layer }
    }
}

impl Limits {
    /// Refuses a blob that is larger than allowed.
    pub(crate) fn check_blob(&self, object: &str, size: u64) -> Result<(), Error> {
        if size <= self.blob {
            return Ok(());
        }
        Err(Error::TooLarge { object: object.to_owned(), limit: self.blob, flag: "--max-blob" })
    }

    /// The limits of the next layer.
    pub fn layer(&self) -> LayerLimits {
        let bytes = self.layer.bytes.min(self.bytes);
        LayerLimits { bytes, entries: self.layer.entries.min(self.entries), ..self.layer }
    }

    /// What is left of the image's limits after a layer.
    #[must_use]
    pub fn after(&self, report: &LayerReport) -> Self {
        let bytes = self.bytes.saturating_sub(report.bytes);
        Self { bytes, entries: self.entries.saturating_sub(report.entries), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_15_layers_share_the_limits_of_their_image() {
        let mut limits = Limits::default();
        let report = LayerReport { bytes: 5 << 30, entries: 700_000, ..LayerReport::default() };
        assert_eq!(limits.layer(), limits.layer);
        limits = limits.after(&report).after(&report);
        assert_eq!((limits.layer().bytes, limits.layer().entries), (6 << 30, 600_000));
        limits = limits.after(&report).after(&report);
        assert_eq!((limits.layer().bytes, limits.layer().entries), (0, 0));
    }
}
