//! Collection: what no applied file names, no container runs on and nobody holds goes, whole images at a time.
//!
//! A crash at any moment leaves each image whole, or without layers that the next start unpacks again, or gone.

use super::change::{pinned_by, sweep};
use super::error::Error;
use super::record::Record;
use super::store::{Store, Using, Writer};
use super::unpack::{own_and_lent, remove_layer};
use crate::helper_client::Client;
use casemate_wire::Digest;
use std::collections::BTreeSet;
use std::path::Path;

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
            Some("new".to_owned())
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

/// Carries it out. `_taking`: nobody is about to use what no file names yet.
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
    // Nobody pulls now: the lock is here.
    let partial = writer.blobs().forget_partials()?;
    done.bytes = partial + sweep(client, writer)? + before.saturating_sub(layer_bytes(client, store)?);
    Ok(done)
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
