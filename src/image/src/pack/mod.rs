//! Packing: a directory or a static binary becomes a reproducible OCI image with one layer; several, one a platform, become an index of
//! such images.
//!
//! The result is a layout in memory, which is written to a directory or an archive, or imported into the store like any other input. Runs
//! with the caller's rights, and only reads its sources.

mod binary;
mod layer;
mod tree;

use crate::documents::{
    self, Descriptor, Host, ImageConfig, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, OCI_TAR_GZIP, Platform, config, linux,
    write,
};
use crate::error::Error;
use crate::layout::{Input, Part};
use casemate_wire::Digest;
use layer::{PackedLayer, Source, Stamp};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use tree::Tree;

/// The sources of an image, and its config.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// A source for each platform, at least one; several become an index.
    pub builds: Vec<(Platform, PackSource)>,
    /// The image's name, of the form `registry/repository[:tag]`.
    pub name: String,
    /// The config's defaults. A binary becomes the entrypoint where none is given.
    pub defaults: ImageConfig,
    /// Owner and group of every file.
    pub owner: (u32, u32),
    /// Time of every file, seconds since 1970 (SOURCE_DATE_EPOCH).
    pub time: u64,
}

/// The platform `ARCHITECTURE[/VARIANT]`, or that of this host; `None` where the text has another form.
pub fn platform(text: Option<&str>) -> Option<Platform> {
    text.map_or_else(|| Some(Host::this().platform()), linux)
}

/// The source of a packed image.
#[derive(Debug, Clone)]
pub enum PackSource {
    /// A directory, whose content becomes the image's root.
    Directory(PathBuf),
    /// A file, which becomes the only one of the image: at the root, under its own name, executable.
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
    /// Its layout.
    pub input: Input,
    /// The digest of its manifest or index.
    pub pin: Digest,
    /// Files whose set-id bits were left out.
    pub set_id: Vec<PathBuf>,
}

/// Packs an image.
pub fn pack(recipe: &Recipe) -> Result<Packed, Error> {
    let [(_, first), ..] = recipe.builds.as_slice() else {
        return Err(Error::Pack { path: "the new image".into(), reason: "there is nothing to pack".to_owned() });
    };
    let mut parts = BTreeMap::new();
    let mut manifests = Vec::new();
    let mut set_id = Vec::new();
    for (platform, source) in &recipe.builds {
        let (layer, stripped) = layer_of(recipe, source)?;
        set_id.extend(stripped);
        manifests.push((platform.clone(), documents(recipe, platform, source, layer, &mut parts)?));
    }
    let top = match manifests.as_slice() {
        [(_, manifest)] => manifest.clone(),
        several => put(&mut parts, OCI_INDEX, write::index_of_platforms(several).map_err(invalid)?),
    };
    parts.insert("index.json".to_owned(), Part::bytes(write::layout_index(&top, &recipe.name).map_err(invalid)?));
    parts.insert("oci-layout".to_owned(), Part::bytes(write::LAYOUT.to_vec()));
    Ok(Packed { input: Input::new(first.path().to_owned(), parts), pin: top.digest, set_id })
}

/// The layer of a source, and the files whose set-id bits were left out.
fn layer_of(recipe: &Recipe, source: &PackSource) -> Result<(PackedLayer, Vec<PathBuf>), Error> {
    let stamp = Stamp { time: recipe.time, uid: recipe.owner.0, gid: recipe.owner.1 };
    match source {
        PackSource::Directory(path) => {
            let tree = Tree::read(path)?;
            Ok((layer::write(&Source::Tree(&tree), stamp)?, tree.set_id))
        }
        PackSource::Binary(path) => {
            let file = File::open(path).map_err(Error::io("open", path))?;
            if let Some(reason) = binary::cannot_run_alone(&file).map_err(Error::io("read", path))? {
                return Err(Error::Pack { path: path.clone(), reason: reason.to_owned() });
            }
            Ok((layer::write(&Source::Binary(&file, path, binary_name(path)?), stamp)?, Vec::new()))
        }
    }
}

/// The name of a binary at the image's root.
fn binary_name(path: &Path) -> Result<&Path, Error> {
    let none = || Error::Pack { path: path.to_owned(), reason: "it is not the name of a file".to_owned() };
    path.file_name().map(Path::new).ok_or_else(none)
}

/// Adds the blobs of one platform's image to the parts. Returns the manifest's descriptor.
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
    let config = write::config(platform, recipe.time, &defaults, layer.diff_id).map_err(invalid)?;
    // The config has the caller's text in it, which may break the same rules as that of an imported image.
    config::parse(&config, 1).map_err(invalid)?;
    let config = put(parts, OCI_CONFIG, config);
    let layer_type = OCI_TAR_GZIP.to_owned();
    let descriptor = Descriptor { media_type: layer_type, digest: layer.digest, size: layer.size };
    parts.insert(blob(layer.digest), Part::file(layer.file, layer.size));
    Ok(put(parts, OCI_MANIFEST, write::manifest(&config, &[descriptor]).map_err(invalid)?))
}

#[expect(clippy::needless_pass_by_value, reason = "the argument of map_err")]
fn invalid(error: documents::Error) -> Error {
    Error::Pack { path: "the new image".into(), reason: error.to_string() }
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
