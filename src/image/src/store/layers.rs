//! Layers through the helper: each blob that is not unpacked yet is sent to it as a descriptor, and becomes a verified layer or none.

use super::inventories::InventoryRecord;
use super::limits::Limits;
use super::locks::ReferenceLock;
use super::progress::Progress;
use super::store::{Store, Writer};
use crate::documents::{Image, Layer};
use crate::error::Error;
use casemate_client::{Answer, Client, Error as ClientError, Ticket};
use casemate_wire::{Digest, DiskUsage, Failure, FailureKind, LayerReport, Reply, Request, Unpack, descriptor};
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

/// Between two attempts to take a lock.
const RETRY: Duration = Duration::from_millis(200);
/// Compressed bytes of layers that are unpacked before they are synced together.
const MAX_UNSYNCED: u64 = 64 << 20;

/// The layers that the helper has, by ChainID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layers {
    /// Layers of the own store.
    pub own: BTreeSet<Digest>,
    /// Links to layers of read-only stores.
    pub linked: BTreeSet<Digest>,
}

impl Layers {
    /// Whether the helper has this layer.
    pub fn contains(&self, layer: &Digest) -> bool {
        self.own.contains(layer) || self.linked.contains(layer)
    }
}

/// Asks the helper for its layers.
pub fn list(client: &mut Client) -> Result<Layers, Error> {
    let layers = client.layers().map_err(|error| Error::Helper { layer: None, error })?;
    let mut list = Layers::default();
    for layer in layers {
        let digests = if layer.link { &mut list.linked } else { &mut list.own };
        digests.insert(layer.chain_id);
    }
    Ok(list)
}

/// Unpacks the missing layers of an image; one round trip where none is missing. A layer without an inventory was not finished, or
/// was unpacked by an older version: it is unpacked again.
pub fn unpack_missing(
    client: &mut Client,
    store: &Store,
    image: &Image,
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    if is_complete(client, store, image)? {
        return Ok(());
    }
    let writer = retry(client, || store.try_lock(), || progress.waiting())?;
    unpack_all(client, &writer, image, limits, progress)
}

/// Takes the reference lock shared: no image is removed between resolving one and applying the file that names it.
pub fn lock_references(client: &Client, store: &Store, waiting: impl FnMut()) -> Result<ReferenceLock, Error> {
    retry(client, || store.try_lock_references(), waiting)
}

/// Retries until a lock is free. A pull can hold it for minutes, so the client keeps sending watchdog pings.
fn retry<T>(
    client: &Client,
    take: impl Fn() -> Result<Option<T>, Error>,
    mut waiting: impl FnMut(),
) -> Result<T, Error> {
    let mut reported = false;
    loop {
        if let Some(taken) = take()? {
            return Ok(taken);
        }
        if !std::mem::replace(&mut reported, true) {
            waiting();
        }
        client.sleep(RETRY).map_err(|error| Error::Helper { layer: None, error })?;
    }
}

/// Whether all layers of an image are unpacked.
pub(crate) fn is_complete(client: &mut Client, store: &Store, image: &Image) -> Result<bool, Error> {
    let layers = list(client)?;
    for layer in &image.layers {
        if inventory_record(store, &layers, &layer.chain_id)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The inventory of a layer that the helper has. For a layer of the own store only the own inventory counts: another store's does not
/// tell what a power cut has left here.
fn inventory_record(store: &Store, layers: &Layers, layer: &Digest) -> Result<Option<InventoryRecord>, Error> {
    if layers.own.contains(layer) {
        return Ok(store.inventories().open(layer)?.map(|(record, _)| record));
    }
    if layers.linked.contains(layer) { store.inventory_record(layer) } else { Ok(None) }
}

/// Unpacks the missing layers of an image, bottom first.
pub fn unpack_all(
    client: &mut Client,
    writer: &Writer<'_>,
    image: &Image,
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let count = image.layers.len();
    unpack_each(client, writer, image, limits, &mut |number, _| {
        progress.layer(number, count);
        Ok(())
    })
}

/// Like [`unpack_all`]. `before` is called for each layer before it is unpacked, with its number from 1.
pub(crate) fn unpack_each(
    client: &mut Client,
    writer: &Writer<'_>,
    image: &Image,
    limits: &Limits,
    before: &mut dyn FnMut(usize, &Layer) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut new = NewLayers::new(writer.store());
    let outcome = unpack_layers(client, &mut new, image, limits, before);
    // Waits for the pending reply even after an error, so that the client has no open request when this returns.
    outcome.and(new.finish(client))
}

fn unpack_layers(
    client: &mut Client,
    new: &mut NewLayers<'_>,
    image: &Image,
    limits: &Limits,
    before: &mut dyn FnMut(usize, &Layer) -> Result<(), Error>,
) -> Result<(), Error> {
    let store = new.store;
    let layers = list(client)?;
    let records = image.layers.iter().map(|layer| inventory_record(store, &layers, &layer.chain_id));
    let records: Vec<_> = records.collect::<Result<_, _>>()?;
    let last = records.iter().rposition(Option::is_none);
    let mut left = *limits;
    let mut parents = Vec::new();
    for (number, (layer, record)) in image.layers.iter().zip(records).enumerate() {
        let report = match record {
            Some(record) => record.report,
            None => {
                before(number + 1, layer)?;
                // A link stays until the unpacked layer replaces it. A layer without an inventory that a container runs on cannot be
                // removed: it stays, and has no inventory still.
                let in_use = layers.own.contains(&layer.chain_id) && !remove(client, store, &layer.chain_id)?;
                if in_use {
                    LayerReport::default()
                } else {
                    let sync = new.exceeds_unsynced_with(layer.size) || last == Some(number);
                    let report = unpack(client, store, layer, &parents, &left, sync)?;
                    new.add(client, layer, report.clone(), sync)?;
                    report
                }
            }
        };
        left = left.after(&report);
        parents.push(layer.chain_id);
    }
    Ok(())
}

/// Layers that were unpacked just now. Several are synced together, and each is listed while the next one is unpacked. An inventory is
/// stored when its layer is synced: from then on the layer counts as complete.
struct NewLayers<'a> {
    store: &'a Store,
    /// The layer that is being listed.
    listing: Option<(NewLayer, Ticket)>,
    listed: VecDeque<NewLayer>,
    /// Compressed bytes of layers that may not be on the disk yet.
    unsynced: u64,
}

struct NewLayer {
    layer: Digest,
    report: LayerReport,
    inventory: File,
    /// Bytes of its files on the disk, known when it is listed.
    disk: u64,
    synced: bool,
}

impl<'a> NewLayers<'a> {
    fn new(store: &'a Store) -> Self {
        Self { store, listing: None, listed: VecDeque::new(), unsynced: 0 }
    }

    /// Whether a layer of this size has to be synced, so that a power cut does not cost more work than [`MAX_UNSYNCED`].
    fn exceeds_unsynced_with(&self, size: u64) -> bool {
        self.unsynced.saturating_add(size) > MAX_UNSYNCED
    }

    /// Adds an unpacked layer; `synced`: it and all layers before it are on the disk.
    fn add(&mut self, client: &mut Client, layer: &Layer, report: LayerReport, synced: bool) -> Result<(), Error> {
        self.wait_for_listing(client)?;
        self.unsynced = if synced { 0 } else { self.unsynced.saturating_add(layer.size) };
        self.listed.iter_mut().for_each(|earlier| earlier.synced |= synced);
        self.store_inventories()?;
        let layer = layer.chain_id;
        let inventory = self.store.inventories().scratch()?;
        let ticket = client
            .ask(&Request::Inventory(layer), &[(descriptor::INVENTORY, inventory.as_fd())])
            .map_err(|error| Error::Helper { layer: Some(layer), error })?;
        self.listing = Some((NewLayer { layer, report, inventory, disk: 0, synced }, ticket));
        Ok(())
    }

    fn wait_for_listing(&mut self, client: &mut Client) -> Result<(), Error> {
        let Some((mut new, ticket)) = self.listing.take() else { return Ok(()) };
        new.disk = disk_usage(client.answer(ticket), new.layer)?.bytes;
        self.listed.push_back(new);
        Ok(())
    }

    fn store_inventories(&mut self) -> Result<(), Error> {
        while self.listed.front().is_some_and(|new| new.synced)
            && let Some(NewLayer { layer, report, mut inventory, disk, .. }) = self.listed.pop_front()
        {
            self.store.inventories().store(&layer, report, disk, &mut inventory)?;
        }
        Ok(())
    }

    /// Waits for the last listing. Layers that are not synced get no inventory, and are unpacked again when they are needed.
    fn finish(mut self, client: &mut Client) -> Result<(), Error> {
        self.wait_for_listing(client)?;
        self.store_inventories()
    }
}

/// Removes a layer and its inventory; `false` where a container runs on it, so that it stays.
pub(super) fn remove(client: &mut Client, store: &Store, layer: &Digest) -> Result<bool, Error> {
    match client.done(&Request::RemoveLayer(*layer)) {
        Ok(()) => store.inventories().remove(layer).map(|()| true),
        Err(ClientError::Failed(Failure { kind: FailureKind::Refused, .. })) => Ok(false),
        Err(error) => Err(Error::Helper { layer: Some(*layer), error }),
    }
}

/// Removes the layers that no image needs. A layer that a container runs on stays until the next time. Links stay: they are created and
/// removed when the helper starts, and the caller may know other read-only stores than the file in force.
pub fn sweep(client: &mut Client, store: &Store) -> Result<(), Error> {
    let needed: BTreeSet<_> = store.all_records()?.into_iter().flat_map(|record| record.layers).collect();
    for layer in list(client)?.own.difference(&needed) {
        remove(client, store, layer)?;
    }
    let left = list(client)?.own;
    store.inventories().keep_only(|layer| left.contains(layer))
}

fn unpack(
    client: &mut Client,
    store: &Store,
    layer: &Layer,
    parents: &[Digest],
    limits: &Limits,
    sync: bool,
) -> Result<LayerReport, Error> {
    let blob = store.open_blob(&layer.blob)?;
    let mut limits = limits.layer();
    // How much a layer takes is known only when it is unpacked, so `store.free_space` bounds it like a limit.
    let available = store.available()?.filter(|available| *available < limits.bytes);
    limits.bytes = available.unwrap_or(limits.bytes);
    let request = Request::Unpack(Unpack {
        blob: layer.blob,
        size: layer.size,
        diff_id: layer.diff_id,
        parents: parents.to_vec(),
        chain_id: layer.chain_id,
        limits,
        sync,
    });
    match client.call(&request, &[(descriptor::BLOB, blob.as_fd())]) {
        Ok((Reply::Unpacked(report), _)) => Ok(report),
        Ok((reply, _)) => Err(unexpected(layer.blob, &reply)),
        Err(ClientError::Failed(Failure { kind: FailureKind::BytesLimit, .. })) if available.is_some() => {
            let object = format!("layer {}", layer.blob);
            Err(Error::NoSpace { object, needed: None, free_space: store.free_space() })
        }
        // The blob was verified when it came into the store.
        Err(ClientError::Failed(Failure { kind: FailureKind::BlobDiffers, object, .. })) => {
            Err(Error::Damaged { blob: layer.blob, reason: object })
        }
        Err(error) => Err(Error::Helper { layer: Some(layer.blob), error }),
    }
}

/// Has the helper list a layer as it lies on the disk.
pub(super) fn inventory(client: &mut Client, store: &Store, layer: &Digest) -> Result<File, Error> {
    let inventory = store.inventories().scratch()?;
    let answer = client.call(&Request::Inventory(*layer), &[(descriptor::INVENTORY, inventory.as_fd())]);
    disk_usage(answer, *layer)?;
    Ok(inventory)
}

fn disk_usage(answer: Result<Answer, ClientError>, layer: Digest) -> Result<DiskUsage, Error> {
    match answer {
        Ok((Reply::DiskUsage(usage), _)) => Ok(usage),
        Ok((reply, _)) => Err(unexpected(layer, &reply)),
        Err(error) => Err(Error::Helper { layer: Some(layer), error }),
    }
}

fn unexpected(layer: Digest, reply: &Reply) -> Error {
    Error::Helper { layer: Some(layer), error: ClientError::unexpected(reply) }
}
