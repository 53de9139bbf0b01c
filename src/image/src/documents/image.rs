//! An image whose documents were verified: every digest here was computed from the bytes that were read.

use casemate_wire::Digest;
use std::collections::BTreeMap;

/// A verified image: the chain pin → (index →) manifest → config holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest of the image manifest for this host's platform. It differs from the pin where the pin names an index.
    pub manifest: Digest,
    /// The defaults of its config.
    pub config: ImageConfig,
    /// Bottom layer first, at least one.
    pub layers: Vec<Layer>,
    /// Names under which the image was imported. For display: a start looks up the pin.
    pub names: Vec<String>,
}

impl Image {
    /// The layers' ChainIDs, bottom first: what a job names.
    pub fn chain(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| layer.chain_id).collect()
    }
}

/// One layer of a verified image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// The digest of the blob as it is distributed, compressed or not.
    pub blob: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// The digest of the uncompressed tar, from the config; verified when the layer is unpacked.
    pub diff_id: Digest,
    /// OCI image-spec, config.md, "Layer ChainID": the layer on top of all below it.
    pub chain_id: Digest,
}

/// The part of an image config that is used: defaults that the file may override and that `inspect` shows. All other fields
/// are dropped (threat row 13).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageConfig {
    /// First arguments of the command.
    pub entrypoint: Vec<String>,
    /// Arguments after the entrypoint.
    pub cmd: Vec<String>,
    /// `NAME=value`, names not empty and without NUL.
    pub env: Vec<String>,
    /// An absolute path.
    pub working_dir: Option<String>,
    /// As the image writes it: a number or a name, not resolved.
    pub user: Option<String>,
    /// `SIGTERM`, `TERM` or a number, not validated here.
    pub stop_signal: Option<String>,
    /// `8080/tcp`, sorted.
    pub exposed_ports: Vec<String>,
    /// Paths, sorted.
    pub volumes: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}
