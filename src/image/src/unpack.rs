//! Layers through the helper: each blob that is not unpacked yet goes to it as a descriptor, and comes back proven or not at all.

use super::error::Error;
use super::import::Progress;
use super::locks::Using;
use super::model::{Image, Layer as ImageLayer, Limits};
use super::store::{Store, Writer};
use super::trees::Known;
use casemate_client::{Answer, Client, Error as ClientError, Ticket};
use casemate_wire::{Digest, DiskUsage, Failure, FailureKind, Layer, LayerReport, Reply, Request, Unpack, descriptor};
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

/// Between two tries to have the store.
const PAUSE: Duration = Duration::from_millis(200);
/// Compressed bytes of layers that are made before they are written to the disk together.
const UNSYNCED: u64 = 64 << 20;

/// Unpacks what is missing of this image. One round trip where nothing is. A layer that is there and of which nothing is known was
/// not finished by the one who unpacked it, or is of an older version: it is unpacked again.
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
    let writer = patiently(client, || store.try_lock(), || progress.waiting())?;
    unpack_all(client, &writer, image, limits, progress)
}

/// Waits until nobody takes images away, and keeps it so: between looking for an image and applying the file that names it.
pub fn using(client: &Client, store: &Store, waiting: impl FnMut()) -> Result<Using, Error> {
    patiently(client, || store.try_using(), waiting)
}

/// Tries until there is something. A pull may have it for long, and whoever waits here may be one whose silence is taken for its end.
fn patiently<T>(
    client: &Client,
    take: impl Fn() -> Result<Option<T>, Error>,
    mut waiting: impl FnMut(),
) -> Result<T, Error> {
    let mut told = false;
    loop {
        if let Some(taken) = take()? {
            return Ok(taken);
        }
        if !std::mem::replace(&mut told, true) {
            waiting();
        }
        client.sleep(PAUSE).map_err(|error| Error::Helper { layer: None, error })?;
    }
}

/// Whether nothing of this image has to be unpacked.
pub(super) fn is_complete(client: &mut Client, store: &Store, image: &Image) -> Result<bool, Error> {
    let (own, lent) = own_and_lent(client)?;
    for layer in &image.layers {
        if known(store, (&own, &lent), &layer.chain_id)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What is known of a layer that the helper has. Of one that lies here it takes the list that was made here: another store's says
/// nothing of what a power cut has left.
fn known(
    store: &Store,
    (own, lent): (&BTreeSet<Digest>, &BTreeSet<Digest>),
    layer: &Digest,
) -> Result<Option<Known>, Error> {
    match (own.contains(layer), lent.contains(layer)) {
        (true, _) => Ok(store.trees().open(layer)?.map(|(known, _)| known)),
        (false, true) => store.known(layer),
        (false, false) => Ok(None),
    }
}

/// Unpacks an image's layers, bottom first, but for those that are there.
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

/// As [`unpack_all`]; `before` is asked for each layer that is unpacked: its number from 1, and what it is.
pub(super) fn unpack_each(
    client: &mut Client,
    writer: &Writer<'_>,
    image: &Image,
    limits: &Limits,
    before: &mut dyn FnMut(usize, &ImageLayer) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut fresh = Fresh::new(writer.store());
    let outcome = make_each(client, &mut fresh, image, limits, before);
    // Nothing is asked of the helper any more when this returns, whatever it returns.
    outcome.and(fresh.finish(client))
}

fn make_each(
    client: &mut Client,
    fresh: &mut Fresh<'_>,
    image: &Image,
    limits: &Limits,
    before: &mut dyn FnMut(usize, &ImageLayer) -> Result<(), Error>,
) -> Result<(), Error> {
    let store = fresh.store;
    let (own, lent) = own_and_lent(client)?;
    let known = image.layers.iter().map(|layer| known(store, (&own, &lent), &layer.chain_id));
    let known: Vec<_> = known.collect::<Result<_, _>>()?;
    let last = known.iter().rposition(Option::is_none);
    let mut left = *limits;
    let mut parents = Vec::new();
    for (number, (layer, known)) in image.layers.iter().zip(known).enumerate() {
        let report = match known {
            Some(known) => known.report,
            None => {
                before(number + 1, layer)?;
                // A link stays until the layer is there that takes its place.
                let stays = own.contains(&layer.chain_id) && !remove_layer(client, store, &layer.chain_id)?;
                // A container stands on it already: it is not proven by that, and not taken away either.
                if stays {
                    LayerReport::default()
                } else {
                    let sync = fresh.has_much_with(layer.size) || last == Some(number);
                    let report = unpack(client, store, layer, &parents, &left, sync)?;
                    fresh.add(client, layer, report.clone(), sync)?;
                    report
                }
            }
        };
        left = left.after(&report);
        parents.push(layer.chain_id);
    }
    Ok(())
}

/// Layers that were just made. One is known from the moment on when it is on the disk, and so is the list of what lies there: it is
/// listed while the next is made, and written to the disk with some others.
struct Fresh<'a> {
    store: &'a Store,
    /// The last one, which is being listed.
    last: Option<(Made, Ticket)>,
    listed: VecDeque<Made>,
    /// Compressed bytes of those that may not be on the disk yet.
    unsynced: u64,
}

struct Made {
    layer: Digest,
    report: LayerReport,
    list: File,
    /// Bytes that it takes, once it is listed.
    disk: u64,
    synced: bool,
}

impl<'a> Fresh<'a> {
    fn new(store: &'a Store) -> Self {
        Self { store, last: None, listed: VecDeque::new(), unsynced: 0 }
    }

    /// Whether so many bytes more would be too much work to lose in a power cut.
    fn has_much_with(&self, size: u64) -> bool {
        self.unsynced.saturating_add(size) > UNSYNCED
    }

    /// One that was made; `synced`: it is on the disk, and all before it.
    fn add(&mut self, client: &mut Client, layer: &ImageLayer, report: LayerReport, synced: bool) -> Result<(), Error> {
        self.wait_for_list(client)?;
        self.unsynced = if synced { 0 } else { self.unsynced.saturating_add(layer.size) };
        self.listed.iter_mut().for_each(|before| before.synced |= synced);
        self.keep()?;
        let layer = layer.chain_id;
        let list = self.store.trees().scratch()?;
        let ticket = client
            .ask(&Request::Inventory(layer), &[(descriptor::INVENTORY, list.as_fd())])
            .map_err(|error| Error::Helper { layer: Some(layer), error })?;
        self.last = Some((Made { layer, report, list, disk: 0, synced }, ticket));
        Ok(())
    }

    fn wait_for_list(&mut self, client: &mut Client) -> Result<(), Error> {
        let Some((mut made, ticket)) = self.last.take() else { return Ok(()) };
        made.disk = listed(client.answer(ticket), made.layer)?.bytes;
        self.listed.push_back(made);
        Ok(())
    }

    fn keep(&mut self) -> Result<(), Error> {
        while self.listed.front().is_some_and(|made| made.synced)
            && let Some(Made { layer, report, mut list, disk, .. }) = self.listed.pop_front()
        {
            self.store.trees().keep(&layer, report, disk, &mut list)?;
        }
        Ok(())
    }

    /// Waits for the last list. What is not on the disk by now stays unknown, and is made again when it is needed.
    fn finish(mut self, client: &mut Client) -> Result<(), Error> {
        self.wait_for_list(client)?;
        self.keep()
    }
}

/// Removes a layer and what is known of it; `false`: a container stands on it, and it stays.
pub(super) fn remove_layer(client: &mut Client, store: &Store, layer: &Digest) -> Result<bool, Error> {
    match client.done(&Request::RemoveLayer(*layer)) {
        Ok(()) => store.trees().forget(layer).map(|()| true),
        Err(ClientError::Failed(Failure { kind: FailureKind::Refused, .. })) => Ok(false),
        Err(error) => Err(Error::Helper { layer: Some(*layer), error }),
    }
}

/// Removes the layers that no image needs. One that a container still stands on stays until the next time; links stay, as the caller
/// may look into other stores than the file that is in force: they are made and removed when the helper starts.
pub fn sweep_layers(client: &mut Client, store: &Store) -> Result<(), Error> {
    let needed: BTreeSet<_> = store.all_records()?.into_iter().flat_map(|record| record.layers).collect();
    for layer in own_and_lent(client)?.0.difference(&needed) {
        remove_layer(client, store, layer)?;
    }
    let (left, _) = own_and_lent(client)?;
    store.trees().keep_only(|layer| left.contains(layer))
}

/// The layers that the helper has.
pub fn layers(client: &mut Client) -> Result<BTreeSet<Digest>, Error> {
    let (mut layers, lent) = own_and_lent(client)?;
    layers.extend(lent);
    Ok(layers)
}

/// The layers that lie in this store, and those that are links into others.
pub(super) fn own_and_lent(client: &mut Client) -> Result<(BTreeSet<Digest>, BTreeSet<Digest>), Error> {
    let layers = client.layers().map_err(|error| Error::Helper { layer: None, error })?;
    let (lent, own): (Vec<_>, Vec<_>) = layers.into_iter().partition(|layer| layer.link);
    let digests = |layers: Vec<Layer>| layers.into_iter().map(|layer| layer.chain_id).collect();
    Ok((digests(own), digests(lent)))
}

fn unpack(
    client: &mut Client,
    store: &Store,
    layer: &ImageLayer,
    parents: &[Digest],
    limits: &Limits,
    sync: bool,
) -> Result<LayerReport, Error> {
    let blob = store.open_blob(&layer.blob)?;
    let mut limits = limits.layer();
    // A layer ends at the reserve as at any other bound: how much it takes is only known when it is unpacked.
    let bound = store.room()?.filter(|(room, _)| *room < limits.bytes);
    limits.bytes = bound.map_or(limits.bytes, |(room, _)| room);
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
        Err(ClientError::Failed(Failure { kind: FailureKind::BytesLimit, .. })) if bound.is_some() => {
            let reserve = bound.map_or(0, |(_, reserve)| reserve);
            Err(Error::NoSpace { object: format!("layer {}", layer.blob), needed: None, reserve })
        }
        // Its bytes were proven when they came into the store.
        Err(ClientError::Failed(Failure { kind: FailureKind::BlobDiffers, object, .. })) => {
            Err(Error::Damaged { blob: layer.blob, reason: object })
        }
        Err(error) => Err(Error::Helper { layer: Some(layer.blob), error }),
    }
}

/// Has a layer listed as it lies on the disk.
pub(super) fn list(client: &mut Client, store: &Store, layer: &Digest) -> Result<(File, DiskUsage), Error> {
    let list = store.trees().scratch()?;
    let answer = client.call(&Request::Inventory(*layer), &[(descriptor::INVENTORY, list.as_fd())]);
    Ok((list, listed(answer, *layer)?))
}

fn listed(answer: Result<Answer, ClientError>, layer: Digest) -> Result<DiskUsage, Error> {
    match answer {
        Ok((Reply::DiskUsage(usage), _)) => Ok(usage),
        Ok((reply, _)) => Err(unexpected(layer, &reply)),
        Err(error) => Err(Error::Helper { layer: Some(layer), error }),
    }
}

fn unexpected(layer: Digest, reply: &Reply) -> Error {
    Error::Helper { layer: Some(layer), error: ClientError::unexpected(reply) }
}
