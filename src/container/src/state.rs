//! Where everything of the state directory lies.
//!
//! `layers/sha256/HEX/fs` is the content of a layer, `volumes/NAME` a volume, `roots/NAME` what a persistent root has written.

use casemate_wire::Digest;
use std::path::{Path, PathBuf};

/// The helper's state directory.
#[derive(Debug)]
pub struct StateDirectory(PathBuf);

impl StateDirectory {
    /// Of this path.
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// A path below it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// The directory of all complete layers.
    pub fn layers(&self) -> PathBuf {
        self.join("layers/sha256")
    }

    /// The content of a layer.
    pub fn content(&self, layer: &Digest) -> PathBuf {
        self.layers().join(layer.hex()).join("fs")
    }

    /// Whether a layer is complete.
    pub fn has_layer(&self, layer: &Digest) -> bool {
        self.content(layer).is_dir()
    }

    /// Where each process, in its own mount namespace, mounts the tmpfs that it builds a root on.
    pub fn stage(&self) -> PathBuf {
        self.join("layers/stage")
    }

    /// Where the helper mounts the part of `/dev` that its containers share.
    pub fn dev(&self) -> PathBuf {
        self.join("layers/dev")
    }

    /// The named volumes.
    pub fn volumes(&self) -> PathBuf {
        self.join("volumes")
    }

    /// The writable directories of persistent roots, by container name.
    pub fn roots(&self) -> PathBuf {
        self.join("roots")
    }
}
