//! What a registry has, without storing it: the digest of a tag, and an image's documents, verified as for a pull.

use super::documents::{document_of, fetch, media_type};
use crate::documents::{Descriptor, Host, Image, MAX_DOCUMENT, resolve};
use crate::error::Error;
use crate::registry::{Connection, ImageRequest, Object};
use crate::store::Expected;
use casemate_wire::Digest;
use sha2::{Digest as _, Sha256};

/// The digest of the document that a tag names now. The document is not parsed.
pub fn resolve_tag(connection: &mut Connection, request: &ImageRequest, tag: &str) -> Result<Digest, Error> {
    let expected = Expected::Size(MAX_DOCUMENT as u64);
    let (bytes, _) = fetch(connection, request, &Object::Tag(tag.to_owned()), expected)?;
    Ok(Digest::from_bytes(Sha256::digest(&bytes).into()))
}

/// The image of a pin, for this host, without names.
pub fn inspect(connection: &mut Connection, request: &ImageRequest) -> Result<Image, Error> {
    let digest = request.pin.digest;
    let expected = Expected::Size(MAX_DOCUMENT as u64);
    let (pinned, content_type) = fetch(connection, request, &Object::Manifest(digest), expected)?;
    let media_type = media_type(&pinned, content_type).map_err(Error::document(digest))?;
    let pin = Descriptor { media_type, digest, size: pinned.len() as u64 };
    let resolved = resolve(&pin, Host::this(), &mut |document| {
        if document.digest == digest {
            return Ok(pinned.clone());
        }
        let size = document.document_size()? as u64;
        document_of(connection, request, document, size)
    })?;
    Ok(resolved.image)
}
