//! What a registry has, without bringing it: the digest that a tag stands for, and an image's documents, proven as ever.

use super::documents::{document_type, fetch};
use crate::blobs::Promise;
use crate::blobs::document_size;
use crate::error::Error;
use crate::json::MAX_DOCUMENT;
use crate::manifest::Descriptor;
use crate::media;
use crate::model::Image;
use crate::platform::Host;
use crate::prove::prove;
use crate::registry::{Lane, Object, Wanted};
use casemate_wire::Digest;
use sha2::{Digest as _, Sha256};

/// The digest of what a tag stands for now. Nothing of it is parsed.
pub fn resolve(lane: &mut Lane, wanted: &Wanted, tag: &str) -> Result<Digest, Error> {
    let (bytes, _) = fetch(lane, wanted, &Object::Tag(tag.to_owned()), Promise::Size(MAX_DOCUMENT as u64))?;
    Ok(Digest::from_bytes(Sha256::digest(&bytes).into()))
}

/// The image that the pin names. Its proof holds for this host; it has no names.
pub fn look(lane: &mut Lane, wanted: &Wanted) -> Result<Image, Error> {
    let digest = wanted.pin.digest;
    let (top, told) = fetch(lane, wanted, &Object::Manifest(digest), Promise::Size(MAX_DOCUMENT as u64))?;
    let media_type = document_type(&top, told).map_err(Error::document(digest))?;
    let pin = Descriptor { media_type, digest, size: top.len() as u64 };
    let proof = prove(&pin, Host::this(), &mut |document| {
        if document.digest == digest {
            return Ok(top.clone());
        }
        let size = document_size(document)? as u64;
        let object = match media::kind(&document.media_type) {
            Some(_) => Object::Manifest(document.digest),
            None => Object::Blob { digest: document.digest, size, offset: 0 },
        };
        Ok(fetch(lane, wanted, &object, Promise::Exact { digest: document.digest, size })?.0)
    })?;
    Ok(proof.image)
}
