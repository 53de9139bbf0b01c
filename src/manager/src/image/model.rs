//! An image after its proof: what the plan may rely on. Every digest here was recomputed from bytes of the store.

use casemate_wire::{Digest, LayerLimits};
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
    /// Bounds of one unpacked layer.
    pub layer: LayerLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            blob: 8 << 30,
            layer: LayerLimits { bytes: 8 << 30, entries: 1_000_000, path: 4096, depth: 128, ratio: 200 },
        }
    }
}
