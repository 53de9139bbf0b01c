//! What the store holds and for whom: every blob and layer once, with the images that stand on it.

use super::change::pinned_by;
use super::error::Error;
use super::preloaded::Preloaded;
use super::record::Record;
use super::store::Store;
use super::unpack::own_and_lent;
use casemate_client::Client;
use casemate_wire::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One thing of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// A blob's digest, a layer's ChainID.
    pub digest: Digest,
    /// Bytes; `None`: a layer of which nothing is known.
    pub bytes: Option<u64>,
    /// Entries of a layer.
    pub entries: Option<u64>,
    /// The images that need it, by pin.
    pub images: Vec<Digest>,
    /// An applied file pins one of them.
    pub applied: bool,
}

/// What a store of others has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lent {
    /// Where it lies.
    pub path: PathBuf,
    /// Its images.
    pub images: usize,
    /// Bytes of its blobs.
    pub blobs: u64,
    /// Bytes of those of its layers that are used here.
    pub layers: u64,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Images, each with whether an applied file pins it.
    pub images: Vec<(Record, bool)>,
    /// Blobs.
    pub blobs: Vec<Item>,
    /// Layers.
    pub layers: Vec<Item>,
    /// Stores that are only read; nothing of them is in the lists above.
    pub lent: Vec<Lent>,
}

/// Adds it up; nothing is proven.
pub fn usage(client: &mut Client, store: &Store, revisions: &Path) -> Result<Usage, Error> {
    let mut images = Vec::new();
    for record in store.records()? {
        let applied = pinned_by(revisions, &record)?.is_some();
        images.push((record, applied));
    }
    let item = |users: &BTreeMap<Digest, (Vec<Digest>, bool)>, digest, bytes, entries| {
        let (images, applied) = users.get(&digest).cloned().unwrap_or_default();
        Item { digest, bytes, entries, images, applied }
    };
    let users = users(&images, |record| record.blobs.iter().map(|(digest, _)| *digest).collect());
    let blobs = store.blobs()?.into_iter().map(|(digest, bytes)| item(&users, digest, Some(bytes), None)).collect();
    let users = self::users(&images, |record| record.layers.clone());
    let mut found = Vec::new();
    let (own, borrowed) = own_and_lent(client)?;
    for layer in own {
        let known = store.known(&layer)?;
        let (bytes, entries) = (known.as_ref().map(|known| known.disk), known.as_ref().map(|k| k.report.entries));
        found.push(item(&users, layer, bytes, entries));
    }
    let lent = store.preloaded().iter().map(|other| lent(other, &borrowed)).collect::<Result<_, _>>()?;
    Ok(Usage { images, blobs, layers: found, lent })
}

fn lent(store: &Preloaded, borrowed: &BTreeSet<Digest>) -> Result<Lent, Error> {
    let mut layers = 0;
    for layer in borrowed {
        layers += store.known(layer)?.map_or(0, |known| known.disk);
    }
    let blobs = store.blobs()?.iter().map(|(_, bytes)| bytes).sum();
    Ok(Lent { path: store.path().to_owned(), images: store.records()?.len(), blobs, layers })
}

/// Who needs each digest.
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
