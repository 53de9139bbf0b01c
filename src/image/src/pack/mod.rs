//! Packing: a directory or one static binary becomes a reproducible OCI image with one layer; several, one a machine, become an index
//! of such images.
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
use super::manifest::{Descriptor, Platform};
use super::media;
use super::model::ImageConfig;
use super::platform::{self, Host};
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
    /// What it is on which machine, at least one; more of them become an index.
    pub builds: Vec<(Platform, PackSource)>,
    /// The image's name, of the form `registry/repository[:tag]`.
    pub name: String,
    /// What the config gives. A binary is its own entrypoint where there is none.
    pub defaults: ImageConfig,
    /// Owner and group of every file.
    pub owner: (u32, u32),
    /// Time of every file, seconds since 1970 (SOURCE_DATE_EPOCH).
    pub time: u64,
}

/// The platform of these words, or of this machine.
pub fn platform(words: Option<&str>) -> Option<Platform> {
    words.map_or_else(|| Some(Host::this().platform()), platform::linux)
}

/// The source of a packed image.
#[derive(Debug, Clone)]
pub enum PackSource {
    /// A directory: its content becomes the root.
    Directory(PathBuf),
    /// A file: it becomes the only one, at the root under its own name, executable.
    Binary(PathBuf),
}

impl PackSource {
    fn path(&self) -> &Path {
        let (Self::Directory(path) | Self::Binary(path)) = self;
        path
    }
}

/// A packed image.
#[derive(Debug)]
pub struct Packed {
    /// Its layout, to be imported.
    pub input: Input,
    /// The digest of its manifest, or of its index.
    pub pin: Digest,
    /// Files that lost set-id bits.
    pub set_id: Vec<PathBuf>,
}

/// Packs.
pub fn pack(recipe: &Recipe) -> Result<Packed, Error> {
    let [(_, first), ..] = recipe.builds.as_slice() else {
        return Err(Error::Pack { path: "the new image".into(), reason: "there is nothing to pack".to_owned() });
    };
    let (mut parts, mut manifests, mut set_id) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (platform, source) in &recipe.builds {
        let (layer, without) = layer_of(recipe, source)?;
        set_id.extend(without);
        manifests.push((platform.clone(), documents(recipe, platform, source, layer, &mut parts)?));
    }
    let top = match manifests.as_slice() {
        [(_, manifest)] => manifest.clone(),
        several => put(&mut parts, media::OCI_INDEX, write::platforms(several)?),
    };
    parts.insert("index.json".to_owned(), Part::bytes(write::index(&top, &recipe.name)?));
    parts.insert("oci-layout".to_owned(), Part::bytes(write::LAYOUT.to_vec()));
    Ok(Packed { input: Input::new(first.path().to_owned(), parts), pin: top.digest, set_id })
}

/// The layer of a source, and the files that lost set-id bits.
fn layer_of(recipe: &Recipe, source: &PackSource) -> Result<(PackedLayer, Vec<PathBuf>), Error> {
    let stamp = Stamp { time: recipe.time, uid: recipe.owner.0, gid: recipe.owner.1 };
    match source {
        PackSource::Directory(path) => {
            let tree = Tree::read(path)?;
            Ok((layer::write(&Source::Tree(&tree), stamp)?, tree.set_id))
        }
        PackSource::Binary(path) => {
            let file = File::open(path).map_err(Error::io("open", path))?;
            if let Some(reason) = binary::not_alone(&file).map_err(Error::io("read", path))? {
                return Err(Error::Pack { path: path.clone(), reason: reason.to_owned() });
            }
            Ok((layer::write(&Source::Binary(&file, path, binary_name(path)?), stamp)?, Vec::new()))
        }
    }
}

/// The name at the image's root of a binary's file.
fn binary_name(path: &Path) -> Result<&Path, Error> {
    let none = || Error::Pack { path: path.to_owned(), reason: "names no file".to_owned() };
    path.file_name().map(Path::new).ok_or_else(none)
}

/// The image of one machine: its blobs go to the parts, its manifest's descriptor comes back.
fn documents(
    recipe: &Recipe,
    platform: &Platform,
    source: &PackSource,
    layer: PackedLayer,
    parts: &mut BTreeMap<String, Part>,
) -> Result<Descriptor, Error> {
    let mut defaults = recipe.defaults.clone();
    if let (PackSource::Binary(path), []) = (source, defaults.entrypoint.as_slice()) {
        defaults.entrypoint.push(format!("/{}", binary_name(path)?.display()));
    }
    let config = write::config(platform, recipe.time, &defaults, layer.diff_id)?;
    // What is made here is judged as what is imported: a caller's words may break the same rules.
    let judged = |flaw: Flaw| Error::Pack { path: "the new image".into(), reason: flaw.to_string() };
    config::parse(&config, 1).map_err(judged)?;
    let config = put(parts, media::OCI_CONFIG, config);
    let layer_type = media::OCI_TAR_GZIP.to_owned();
    let descriptor = Descriptor { media_type: layer_type, digest: layer.digest, size: layer.size };
    parts.insert(blob(layer.digest), Part::file(layer.file, layer.size));
    Ok(put(parts, media::OCI_MANIFEST, write::manifest(&config, &[descriptor])?))
}

fn put(parts: &mut BTreeMap<String, Part>, media_type: &str, bytes: Vec<u8>) -> Descriptor {
    let descriptor = describe(media_type, &bytes);
    parts.insert(blob(descriptor.digest), Part::bytes(bytes));
    descriptor
}

fn blob(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    let digest = Digest::from_bytes(Sha256::digest(bytes).into());
    Descriptor { media_type: media_type.to_owned(), digest, size: bytes.len() as u64 }
}
