//! Packing: a directory or one static binary becomes a reproducible OCI image with one layer.
//!
//! The result is a layout in memory, as parts by name: written to a directory or an archive, or imported into the store
//! like any other input. Runs with the caller's rights and needs only to read.

mod binary;
mod layer;
mod output;
mod tree;

pub use output::Output;

use super::config;
use super::error::Error;
use super::flaw::Flaw;
use super::import::{Input, Part};
use super::manifest::Descriptor;
use super::media;
use super::model::ImageConfig;
use super::platform::Host;
use super::write;
use casemate_wire::Digest;
use layer::{PackedLayer, Source, Stamp};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use tree::Tree;

/// What is packed, and what the image says of itself.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The source.
    pub source: PackSource,
    /// The image's name, of the form `registry/repository[:tag]`.
    pub name: String,
    /// Go's word for the machine; this host's where it is silent.
    pub architecture: Option<String>,
    /// What the config gives.
    pub defaults: ImageConfig,
    /// Owner and group of every file.
    pub owner: (u32, u32),
    /// Time of every file, seconds since 1970 (SOURCE_DATE_EPOCH).
    pub time: u64,
}

/// The source of a packed image.
#[derive(Debug, Clone)]
pub enum PackSource {
    /// A directory: its content becomes the root.
    Directory(PathBuf),
    /// A file: it becomes the only one, at the root under its own name, executable.
    Binary(PathBuf),
}

/// A packed image.
#[derive(Debug)]
pub struct Packed {
    /// Its layout, to be imported.
    pub input: Input,
    /// The digest of its manifest.
    pub pin: Digest,
    /// Files that lost set-id bits.
    pub set_id: Vec<PathBuf>,
}

/// Packs.
pub fn pack(recipe: &Recipe) -> Result<Packed, Error> {
    let stamp = Stamp { time: recipe.time, uid: recipe.owner.0, gid: recipe.owner.1 };
    let (layer, set_id, source) = match &recipe.source {
        PackSource::Directory(path) => {
            let tree = Tree::read(path)?;
            (layer::write(&Source::Tree(&tree), stamp)?, tree.set_id, path)
        }
        PackSource::Binary(path) => {
            let file = File::open(path).map_err(Error::io("open", path))?;
            if let Some(reason) = binary::not_alone(&file).map_err(Error::io("read", path))? {
                return Err(Error::Pack { path: path.clone(), reason: reason.to_owned() });
            }
            (layer::write(&Source::Binary(&file, path, binary_name(path)?), stamp)?, Vec::new(), path)
        }
    };
    let (parts, pin) = documents(recipe, layer)?;
    Ok(Packed { input: Input::new(source.clone(), parts), pin, set_id })
}

/// The name at the image's root of a binary's file.
pub fn binary_name(path: &Path) -> Result<&Path, Error> {
    let none = || Error::Pack { path: path.to_owned(), reason: "names no file".to_owned() };
    path.file_name().map(Path::new).ok_or_else(none)
}

fn documents(recipe: &Recipe, layer: PackedLayer) -> Result<(BTreeMap<String, Part>, Digest), Error> {
    let architecture = recipe.architecture.as_deref().unwrap_or(Host::this().architecture());
    let config = write::config(architecture, recipe.time, &recipe.defaults, layer.diff_id)?;
    // What is made here is judged as what is imported: a caller's words may break the same rules.
    let judged = |flaw: Flaw| Error::Pack { path: "the new image".into(), reason: flaw.to_string() };
    config::parse(&config, 1).map_err(judged)?;
    let config_descriptor = describe(media::OCI_CONFIG, &config);
    let layer_type = media::OCI_TAR_GZIP.to_owned();
    let layer_descriptor = Descriptor { media_type: layer_type, digest: layer.digest, size: layer.size };
    let manifest = write::manifest(&config_descriptor, &[layer_descriptor])?;
    let manifest_descriptor = describe(media::OCI_MANIFEST, &manifest);
    let pin = manifest_descriptor.digest;
    let index = write::index(&manifest_descriptor, &recipe.name)?;
    let blob = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
    let parts = BTreeMap::from([
        (blob(layer.digest), Part::file(layer.file, layer.size)),
        (blob(config_descriptor.digest), Part::bytes(config)),
        (blob(pin), Part::bytes(manifest)),
        ("index.json".to_owned(), Part::bytes(index)),
        ("oci-layout".to_owned(), Part::bytes(write::LAYOUT.to_vec())),
    ]);
    Ok((parts, pin))
}

fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    let digest = Digest::from_bytes(Sha256::digest(bytes).into());
    Descriptor { media_type: media_type.to_owned(), digest, size: bytes.len() as u64 }
}
