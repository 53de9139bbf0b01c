//! An image after its proof: what the plan may rely on. Every digest here was recomputed from bytes of the store.

use casemate_wire::{Digest, LayerLimits, LayerReport};
use std::collections::BTreeMap;

/// A proven image: the chain pin → (index →) manifest → config holds, and every layer's blob has its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest of the image manifest for this host's platform. It differs from the pin where the pin names an index.
    pub manifest: Digest,
    /// Defaults that the image gives.
    pub config: ImageConfig,
    /// Bottom layer first, at least one.
    pub layers: Vec<Layer>,
    /// Names under which the image was imported; shown to people, never looked up by a start.
    pub names: Vec<String>,
}

impl Image {
    /// The layers' ChainIDs, bottom first, as a job names them.
    pub fn chain(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| layer.chain_id).collect()
    }
}

/// One layer of a proven image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// The digest of the blob as it lies in the store (compressed or not).
    pub blob: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// The digest of the uncompressed tar, from the config; proven when the layer is unpacked.
    pub diff_id: Digest,
    /// OCI image-spec, config.md, "Layer ChainID": the layer on top of all below it.
    pub chain_id: Digest,
}

/// The part of an image config that is read. All of it is a default that the file may override, and `inspect` shows it;
/// nothing else of the config is kept (threat row 13).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageConfig {
    /// First words of the command.
    pub entrypoint: Vec<String>,
    /// Words after the entrypoint.
    pub cmd: Vec<String>,
    /// `NAME=value`, names not empty and without NUL.
    pub env: Vec<String>,
    /// Absolute, or none.
    pub working_dir: Option<String>,
    /// As the image has it: text, not resolved, perhaps a name.
    pub user: Option<String>,
    /// `SIGTERM`, `TERM` or a number, not judged here.
    pub stop_signal: Option<String>,
    /// `8080/tcp`, sorted.
    pub exposed_ports: Vec<String>,
    /// Paths, sorted.
    pub volumes: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What an image may cost. Passing a bound is an error, and the store stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one blob as it is stored.
    pub blob: u64,
    /// Uncompressed bytes of all layers together.
    pub bytes: u64,
    /// Entries of all layers together.
    pub entries: u64,
    /// Bounds of one layer; those of the image bound it too.
    pub layer: LayerLimits,
}

impl Default for Limits {
    fn default() -> Self {
        let layer = LayerLimits { bytes: 8 << 30, entries: 1_000_000, path: 4096, depth: 128, ratio: 200 };
        Self { blob: 8 << 30, bytes: 16 << 30, entries: 2_000_000, layer }
    }
}

impl Limits {
    /// The bounds of the next layer.
    pub fn layer(&self) -> LayerLimits {
        let bytes = self.layer.bytes.min(self.bytes);
        LayerLimits { bytes, entries: self.layer.entries.min(self.entries), ..self.layer }
    }

    /// What is left of the image's bounds after a layer.
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
    fn threat_15_layers_share_the_bounds_of_their_image() {
        let mut limits = Limits::default();
        let report = LayerReport { bytes: 5 << 30, entries: 700_000, ..LayerReport::default() };
        assert_eq!(limits.layer(), limits.layer);
        limits = limits.after(&report).after(&report);
        assert_eq!((limits.layer().bytes, limits.layer().entries), (6 << 30, 600_000));
        limits = limits.after(&report).after(&report);
        assert_eq!((limits.layer().bytes, limits.layer().entries), (0, 0));
    }
}
