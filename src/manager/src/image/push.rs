//! Push: an image of the store goes to a registry, with the digests that it has here.
//!
//! An index is not pushed: it names images for other machines, which the store does not have. Its manifest for this machine is.

use super::error::Error;
use super::store::Store;
use crate::registry::{Lane, LaneError, Put, Sent, Wanted};
use casemate_wire::Digest;
use std::io::Read;

/// Sends an image's blobs, then its manifest under its digest and, where there is one, its tag. Gives the manifest's digest.
pub fn push(
    store: &Store,
    lane: &mut Lane,
    pin: &Digest,
    to: &Wanted,
    told: &dyn Fn(&Digest, u64),
) -> Result<Digest, Error> {
    let proof = store.proof(pin)?;
    let place = to.place();
    let mut send = |what: Sent, digest: Digest, size: u64, source: &mut dyn Read| {
        let failed = |error: LaneError| Error::Fetch { place: place.clone(), object: digest.to_string(), error };
        told(&digest, size);
        lane.put(Put { registry: to.registry, repository: to.repository.clone(), size, what }, source).map_err(failed)
    };
    for layer in &proof.image.layers {
        send(Sent::Blob(layer.blob), layer.blob, layer.size, &mut store.open_blob(&layer.blob)?)?;
    }
    let (Some(config), Some(manifest)) =
        (proof.documents.last(), proof.documents.iter().find(|document| document.digest == proof.image.manifest))
    else {
        return Err(Error::NotImported(*pin));
    };
    send(Sent::Blob(config.digest), config.digest, config.size, &mut store.open_blob(&config.digest)?)?;
    let bytes = store.read_document(manifest)?;
    let (digest, media_type) = (manifest.digest, manifest.media_type.clone());
    let what = Sent::Manifest { digest, tag: to.pin.tag.clone(), media_type };
    send(what, digest, manifest.size, &mut &bytes[..])?;
    Ok(digest)
}
