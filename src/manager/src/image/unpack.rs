//! Layers through the helper: each blob that is not unpacked yet goes to it as a descriptor, and comes back proven or not at all.

use super::error::Error;
use super::import::Progress;
use super::model::{Image, Layer, Limits};
use super::store::Store;
use crate::helper_client::{Client, ClientError};
use casemate_wire::{Digest, Failure, FailureKind, LayerReport, Reply, Request, UnpackLayer};
use std::collections::BTreeSet;
use std::os::fd::AsFd;

/// The step of casemate-unpack that finds other bytes than its order names.
const CHECK_BLOB: &str = "check blob";
/// Its step that stops at the bound of bytes.
const LIMIT_BYTES: &str = "limit bytes";

/// Unpacks what the helper does not have of this image. One round trip where it has everything.
pub fn unpack_missing(
    client: &mut Client,
    store: &Store,
    image: &Image,
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let present = layers(client)?;
    if image.layers.iter().all(|layer| present.contains(&layer.chain_id)) {
        return Ok(());
    }
    unpack_all(client, store, image, limits, progress).map(drop)
}

/// Unpacks an image's layers, bottom first, and gives the report of each; a layer that is there is not unpacked again.
pub fn unpack_all(
    client: &mut Client,
    store: &Store,
    image: &Image,
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<Vec<LayerReport>, Error> {
    let mut left = *limits;
    let mut parents = Vec::new();
    let mut reports = Vec::new();
    for layer in &image.layers {
        progress.layer(reports.len() + 1, image.layers.len());
        let report = unpack(client, store, layer, &parents, &left)?;
        left = left.after(&report);
        parents.push(layer.chain_id);
        reports.push(report);
    }
    Ok(reports)
}

/// Removes the layers that no image of the store needs. One that a container still stands on stays until the next time.
pub fn sweep_layers(client: &mut Client, store: &Store) -> Result<(), Error> {
    let needed: BTreeSet<_> = store.records()?.into_iter().flat_map(|record| record.layers).collect();
    for layer in layers(client)?.difference(&needed) {
        match client.done(Request::RemoveLayer(*layer)) {
            Err(ClientError::Failed(Failure { kind: FailureKind::Refused, .. })) | Ok(()) => {}
            Err(error) => return Err(Error::Helper { layer: Some(*layer), error }),
        }
    }
    Ok(())
}

/// The layers that the helper has.
pub fn layers(client: &mut Client) -> Result<BTreeSet<Digest>, Error> {
    match client.call(Request::Layers, &[]) {
        Ok((Reply::Layers(layers), _)) => Ok(layers.into_iter().collect()),
        Ok(_) => Err(unexpected(None)),
        Err(error) => Err(Error::Helper { layer: None, error }),
    }
}

fn unpack(
    client: &mut Client,
    store: &Store,
    layer: &Layer,
    parents: &[Digest],
    limits: &Limits,
) -> Result<LayerReport, Error> {
    let blob = store.open_blob(&layer.blob)?;
    let mut limits = limits.layer();
    // A layer ends at the reserve as at any other bound: how much it takes is only known when it is unpacked.
    let bound = store.room()?.filter(|(room, _)| *room < limits.bytes);
    limits.bytes = bound.map_or(limits.bytes, |(room, _)| room);
    let request = Request::Unpack(UnpackLayer {
        blob: layer.blob,
        size: layer.size,
        diff_id: layer.diff_id,
        parents: parents.to_vec(),
        chain_id: layer.chain_id,
        limits,
    });
    match client.call(request, &[blob.as_fd()]) {
        Ok((Reply::Unpacked(report), _)) => Ok(report),
        Ok(_) => Err(unexpected(Some(layer.blob))),
        Err(ClientError::Failed(Failure { step, .. })) if step == LIMIT_BYTES && bound.is_some() => {
            let reserve = bound.map_or(0, |(_, reserve)| reserve);
            Err(Error::NoSpace { object: format!("layer {}", layer.blob), needed: None, reserve })
        }
        // Its bytes were proven when they came into the store.
        Err(ClientError::Failed(Failure { step, object, .. })) if step == CHECK_BLOB => {
            Err(Error::Damaged { blob: layer.blob, reason: object })
        }
        Err(error) => Err(Error::Helper { layer: Some(layer.blob), error }),
    }
}

const fn unexpected(layer: Option<Digest>) -> Error {
    Error::Helper { layer, error: ClientError::Protocol("not the answer to this request") }
}
