//! Disk usage of the store: every blob and layer once, with the images that need it.

use super::layers;
use super::read_only::ReadOnlyStore;
use super::record::Record;
use super::remove::applied_file_with;
use super::store::Store;
use crate::error::Error;
use casemate_client::Client;
use casemate_wire::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The usage of a blob or a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// A blob's digest or a layer's ChainID.
    pub digest: Digest,
    /// Bytes; `None` for a layer without an inventory.
    pub bytes: Option<u64>,
    /// Files, directories and links of a layer.
    pub entries: Option<u64>,
    /// The pins of the images that need it.
    pub images: Vec<Digest>,
    /// Whether an applied file pins one of these images.
    pub applied: bool,
}

/// The usage of a read-only store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOnlyUsage {
    /// Its path.
    pub path: PathBuf,
    /// The number of its images.
    pub images: usize,
    /// Bytes of its blobs.
    pub blobs: u64,
    /// Bytes of its layers that are linked from here.
    pub layers: u64,
}

/// The usage of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Images, and whether an applied file pins each.
    pub images: Vec<(Record, bool)>,
    /// Blobs.
    pub blobs: Vec<Item>,
    /// Layers.
    pub layers: Vec<Item>,
    /// Read-only stores; they are not in the lists above.
    pub read_only: Vec<ReadOnlyUsage>,
}

/// Computes the usage. Nothing is verified.
pub fn usage(client: &mut Client, store: &Store, revisions: &Path) -> Result<Usage, Error> {
    let mut images = Vec::new();
    for record in store.records()? {
        let applied = applied_file_with(revisions, &record)?.is_some();
        images.push((record, applied));
    }
    let item = |users: &BTreeMap<Digest, (Vec<Digest>, bool)>, digest, bytes, entries| {
        let (images, applied) = users.get(&digest).cloned().unwrap_or_default();
        Item { digest, bytes, entries, images, applied }
    };
    let users_of_blobs = users(&images, |record| record.blobs.iter().map(|(digest, _)| *digest).collect());
    let blobs = store.blobs()?;
    let blobs = blobs.into_iter().map(|(digest, bytes)| item(&users_of_blobs, digest, Some(bytes), None)).collect();
    let users_of_layers = users(&images, |record| record.layers.clone());
    let present = layers::list(client)?;
    let mut layers = Vec::new();
    for layer in present.own {
        let record = store.inventory_record(&layer)?;
        let bytes = record.as_ref().map(|record| record.disk);
        let entries = record.as_ref().map(|record| record.report.entries);
        layers.push(item(&users_of_layers, layer, bytes, entries));
    }
    let read_only = store.read_only().iter().map(|other| usage_of(other, &present.linked)).collect::<Result<_, _>>()?;
    Ok(Usage { images, blobs, layers, read_only })
}

fn usage_of(store: &ReadOnlyStore, linked: &BTreeSet<Digest>) -> Result<ReadOnlyUsage, Error> {
    let mut layers = 0;
    for layer in linked {
        layers += store.inventory_record(layer)?.map_or(0, |record| record.disk);
    }
    let blobs = store.blobs().list()?.iter().map(|(_, bytes)| bytes).sum();
    Ok(ReadOnlyUsage { path: store.path().to_owned(), images: store.records()?.len(), blobs, layers })
}

/// The images that need each digest, and whether an applied file pins one of them.
fn users(images: &[(Record, bool)], needs: impl Fn(&Record) -> Vec<Digest>) -> BTreeMap<Digest, (Vec<Digest>, bool)> {
    let mut users: BTreeMap<Digest, (Vec<Digest>, bool)> = BTreeMap::new();
    for (record, applied) in images {
        for digest in needs(record) {
            let (pins, any) = users.entry(digest).or_default();
            if !pins.contains(&record.pin) {
                pins.push(record.pin);
            }
            *any |= applied;
        }
    }
    users
}
