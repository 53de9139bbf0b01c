//! Garbage collection: removes images that no applied file names, no container uses and no `image pin` protects, one image at a time.
//!
//! A crash at any moment leaves each image complete, or without layers that the next start unpacks again, or removed.

use super::layers;
use super::locks::ReferenceLock;
use super::record::Record;
use super::remove::{applied_file_with, sweep};
use super::store::{Store, Writer};
use crate::error::Error;
use casemate_client::Client;
use casemate_wire::Digest;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why an image is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepReason {
    /// This applied file pins it.
    Applied(PathBuf),
    /// `image pin` keeps it.
    Pinned,
    /// It was imported a short time ago.
    New,
    /// No dropped revision names it.
    NotNamed,
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied(file) => write!(f, "in use by the applied file {}", file.display()),
            Self::Pinned => f.write_str("pinned"),
            Self::New => f.write_str("new"),
            Self::NotNamed => f.write_str("no dropped revision named it"),
        }
    }
}

/// What a collection will do with each image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Images to remove, unless a container runs on them.
    pub remove: Vec<Record>,
    /// Images to keep.
    pub keep: Vec<(Record, KeepReason)>,
}

/// What a collection has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Removed images.
    pub removed: Vec<Record>,
    /// Images that stay because a container runs on them.
    pub in_use: Vec<Record>,
    /// Bytes of removed blobs and of files of removed layers.
    pub bytes: u64,
}

/// Plans a collection. Images imported after `oldest` (seconds since 1970) are kept.
pub fn plan(store: &Store, revisions: &Path, oldest: u64) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    for record in store.records()? {
        let reason = if let Some(file) = applied_file_with(revisions, &record)? {
            Some(KeepReason::Applied(file))
        } else if record.held {
            Some(KeepReason::Pinned)
        } else if record.imported > oldest {
            Some(KeepReason::New)
        } else {
            None
        };
        match reason {
            Some(reason) => plan.keep.push((record, reason)),
            None => plan.remove.push(record),
        }
    }
    Ok(plan)
}

/// A revision that was applied once and is not kept any more.
#[derive(Debug, Clone, Copy)]
pub struct DroppedRevision<'a> {
    /// The file's text.
    pub text: &'a str,
    /// When it was first applied, in seconds since 1970.
    pub since: u64,
}

impl DroppedRevision<'_> {
    /// Whether it pins this image.
    pub fn pins(&self, record: &Record) -> bool {
        self.text.contains(&record.pin.to_string())
    }
}

/// Like [`plan`], limited to images pinned by dropped revisions. Keeps an image that was imported again after such a revision was
/// applied and after `oldest`: it may be about to be used.
pub fn plan_dropped(
    store: &Store,
    revisions: &Path,
    dropped: &[DroppedRevision<'_>],
    oldest: u64,
) -> Result<Plan, Error> {
    let Plan { remove: candidates, mut keep } = plan(store, revisions, u64::MAX)?;
    let mut remove = Vec::new();
    for record in candidates {
        match dropped.iter().filter(|file| file.pins(&record)).map(|file| file.since.max(oldest)).max() {
            None => keep.push((record, KeepReason::NotNamed)),
            Some(oldest) if record.imported > oldest => keep.push((record, KeepReason::New)),
            Some(_) => remove.push(record),
        }
    }
    Ok(Plan { remove, keep })
}

/// Carries a plan out. `_exclusive`: the reference lock, held exclusively.
pub fn collect(
    client: &mut Client,
    writer: &Writer<'_>,
    _exclusive: &ReferenceLock,
    plan: Plan,
) -> Result<Collected, Error> {
    let store = writer.store();
    let before = layer_bytes(client, store)?;
    let read_only = store.read_only_layers()?;
    let mut left: Vec<Record> = plan.keep.into_iter().map(|(record, _)| record).collect();
    left.extend(plan.remove.iter().cloned());
    let mut done = Collected::default();
    for record in plan.remove {
        left.retain(|other| other.pin != record.pin);
        let shared: BTreeSet<&Digest> = left.iter().flat_map(|other| &other.layers).collect();
        let is_own = |layer: &&Digest| !shared.contains(*layer) && !read_only.contains(*layer);
        let own: Vec<&Digest> = record.layers.iter().rev().filter(is_own).collect();
        if remove_layers(client, store, &own)? {
            writer.remove(&record.pin)?;
            done.removed.push(record);
        } else {
            left.push(record.clone());
            done.in_use.push(record);
        }
    }
    let layers = before.saturating_sub(layer_bytes(client, store)?);
    done.bytes = layers + writer.sweep_blobs_of(&done.removed)?;
    Ok(done)
}

/// Removes what imports and pulls have not finished. Returns the bytes freed.
pub fn sweep_unfinished(client: &mut Client, writer: &Writer<'_>) -> Result<u64, Error> {
    let before = layer_bytes(client, writer.store())?;
    // The writer's lock is held, so no pull runs.
    let blobs = writer.blobs().remove_partials()? + sweep(client, writer)?;
    Ok(blobs + before.saturating_sub(layer_bytes(client, writer.store())?))
}

/// Removes layers, the uppermost first, as a container that runs on the image holds that one. `false`: one is in use, and the image
/// stays.
fn remove_layers(client: &mut Client, store: &Store, own: &[&Digest]) -> Result<bool, Error> {
    let present = layers::list(client)?.own;
    for layer in own.iter().filter(|layer| present.contains(layer)) {
        if !layers::remove(client, store, layer)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn layer_bytes(client: &mut Client, store: &Store) -> Result<u64, Error> {
    let mut bytes = 0;
    for layer in layers::list(client)?.own {
        bytes += store.inventory_record(&layer)?.map_or(0, |record| record.disk);
    }
    Ok(bytes)
}
