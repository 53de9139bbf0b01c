//! Collection: what no applied file names, no container runs on and nobody holds goes, whole images at a time.
//!
//! A crash at any moment leaves each image whole, or without layers that the next start unpacks again, or gone.

use super::change::{pinned_by, sweep};
use super::error::Error;
use super::locks::Using;
use super::record::Record;
use super::store::{Store, Writer};
use super::unpack::{own_and_lent, remove_layer};
use casemate_client::Client;
use casemate_wire::Digest;
use std::collections::BTreeSet;
use std::path::Path;

/// Why an image stays that came a moment ago.
pub const NEW: &str = "new";

/// What is going to be done with each image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// They go, unless a container runs on one.
    pub remove: Vec<Record>,
    /// They stay, each with the reason.
    pub keep: Vec<(Record, String)>,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Gone.
    pub removed: Vec<Record>,
    /// A container runs on them.
    pub in_use: Vec<Record>,
    /// Bytes of blobs and of files of layers.
    pub bytes: u64,
}

/// Judges every image. `oldest`: seconds since 1970; what was imported later stays.
pub fn plan(store: &Store, revisions: &Path, oldest: u64) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    for record in store.records()? {
        let reason = if let Some(by) = pinned_by(revisions, &record)? {
            Some(format!("in use by {by}"))
        } else if record.held {
            Some("pinned".to_owned())
        } else if record.imported > oldest {
            Some(NEW.to_owned())
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

/// A file that was applied once and is not kept any more.
#[derive(Debug, Clone, Copy)]
pub struct Former<'a> {
    /// Its text.
    pub text: &'a str,
    /// Seconds since 1970 when it was applied for the first time.
    pub since: u64,
}

impl Former<'_> {
    /// Whether it pins this image.
    pub fn pins(&self, record: &Record) -> bool {
        self.text.contains(&record.pin.to_string())
    }
}

/// The same, where only those go that these files named. One that came again since, and later than `oldest`, stays: somebody is about
/// to use it.
pub fn plan_former(store: &Store, revisions: &Path, former: &[Former<'_>], oldest: u64) -> Result<Plan, Error> {
    let Plan { remove, mut keep } = plan(store, revisions, u64::MAX)?;
    let mut gone = Vec::new();
    for record in remove {
        match former.iter().filter(|file| file.pins(&record)).map(|file| file.since.max(oldest)).max() {
            None => keep.push((record, "no file named it".to_owned())),
            Some(oldest) if record.imported > oldest => keep.push((record, NEW.to_owned())),
            Some(_) => gone.push(record),
        }
    }
    Ok(Plan { remove: gone, keep })
}

/// Carries it out, and leaves everything else alone. `_taking`: nobody is about to use what no file names yet.
pub fn collect(client: &mut Client, writer: &Writer<'_>, _taking: &Using, plan: Plan) -> Result<Collected, Error> {
    let store = writer.store();
    let (before, lent) = (layer_bytes(client, store)?, store.lent_layers()?);
    let mut left: Vec<Record> = plan.keep.into_iter().map(|(record, _)| record).collect();
    left.extend(plan.remove.iter().cloned());
    let mut done = Collected::default();
    for record in plan.remove {
        left.retain(|other| other.pin != record.pin);
        let shared: BTreeSet<&Digest> = left.iter().flat_map(|other| &other.layers).collect();
        let own: Vec<&Digest> =
            record.layers.iter().rev().filter(|layer| !shared.contains(layer) && !lent.contains(layer)).collect();
        if is_free(client, store, &own)? {
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

/// Removes what is left of imports and pulls that have not ended, and belongs to no image. Returns the bytes freed.
pub fn sweep_unfinished(client: &mut Client, writer: &Writer<'_>) -> Result<u64, Error> {
    let before = layer_bytes(client, writer.store())?;
    // Nobody pulls now: the lock is here.
    let blobs = writer.blobs().forget_partials()? + sweep(client, writer)?;
    Ok(blobs + before.saturating_sub(layer_bytes(client, writer.store())?))
}

/// Takes the layers away, uppermost first; a container that runs on the image holds that one above all.
fn is_free(client: &mut Client, store: &Store, own: &[&Digest]) -> Result<bool, Error> {
    let (present, _) = own_and_lent(client)?;
    for layer in own.iter().filter(|layer| present.contains(layer)) {
        if !remove_layer(client, store, layer)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn layer_bytes(client: &mut Client, store: &Store) -> Result<u64, Error> {
    let mut bytes = 0;
    for layer in own_and_lent(client)?.0 {
        bytes += store.known(&layer)?.map_or(0, |known| known.disk);
    }
    Ok(bytes)
}
