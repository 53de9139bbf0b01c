//! The documents of an image, from its pin on: few, small, and one after another, as each names the next.

use super::{Begun, Wanted};
use crate::blobs::{Promise, check, document_size};
use crate::error::Error;
use crate::flaw::Flaw;
use crate::json::{self, MAX_DOCUMENT};
use crate::manifest::Descriptor;
use crate::media;
use crate::prove::prove;
use crate::registry::{Get, Lane, LaneError, Object};
use crate::store::Writer;
use casemate_wire::Digest;
use sha2::{Digest as _, Sha256};

/// A failure of the lane, or of what came through it.
pub(super) enum Trouble {
    /// The lane's.
    Lane(LaneError),
    /// Ours.
    Own(Error),
}

impl From<LaneError> for Trouble {
    fn from(error: LaneError) -> Self {
        Self::Lane(error)
    }
}

impl Trouble {
    /// With the object that it was about.
    pub(super) fn about(self, wanted: &Wanted, object: &Object) -> Error {
        match self {
            Self::Own(error) => error,
            Self::Lane(error) => Error::Fetch { place: wanted.place(), object: object.to_string(), error },
        }
    }
}

/// Brings and proves the documents that are not in the store.
pub(super) fn begin<'w>(writer: &Writer<'_>, lane: &mut Lane, wanted: &'w Wanted) -> Result<Begun<'w>, Error> {
    let mut fetched = 0;
    let pin = match writer.store().record(&wanted.pin.digest)? {
        Some(record) => record.descriptor(),
        None => {
            let pin = top(writer, lane, wanted)?;
            fetched += pin.size;
            pin
        }
    };
    let proof = prove(&pin, writer.store().host(), &mut |document| {
        let size = document_size(document)? as u64;
        if writer.has_blob(&document.digest, size)?
            && let Ok(bytes) = writer.read_document(document)
        {
            return Ok(bytes);
        }
        let object = match media::kind(&document.media_type) {
            Some(_) => Object::Manifest(document.digest),
            None => Object::Blob { digest: document.digest, size, offset: 0 },
        };
        let (bytes, _) = fetch(lane, wanted, &object, Promise::Exact { digest: document.digest, size })?;
        fetched += size;
        put(writer, document.digest, &bytes)?;
        Ok(bytes)
    })?;
    Ok(Begun { wanted, pin, proof, fetched })
}

/// The document that the pin itself names: only its digest is known, so its size and its type are what comes.
fn top(writer: &Writer<'_>, lane: &mut Lane, wanted: &Wanted) -> Result<Descriptor, Error> {
    let digest = wanted.pin.digest;
    let object = Object::Manifest(digest);
    let (bytes, told) = fetch(lane, wanted, &object, Promise::Size(MAX_DOCUMENT as u64))?;
    let media_type = document_type(&bytes, told).map_err(Error::document(digest))?;
    put(writer, digest, &bytes)?;
    Ok(Descriptor { media_type, digest, size: bytes.len() as u64 })
}

/// What a document is: what its server calls it, if that is a type of an image, else what it calls itself. That both agree is
/// checked when it is read (CVE-2021-41190).
pub(super) fn document_type(bytes: &[u8], told: String) -> Result<String, Flaw> {
    if media::kind(&told).is_some() {
        return Ok(told);
    }
    let document = json::parse(bytes)?;
    let own = document.get("mediaType").and_then(|own| own.as_str());
    match own.filter(|own| media::kind(own).is_some()) {
        Some(own) => Ok(own.to_owned()),
        None => Err(Flaw::NotAnImage(own.map_or(told, str::to_owned))),
    }
}

/// One document from the first server that gives the promised bytes.
pub(super) fn fetch(
    lane: &mut Lane,
    wanted: &Wanted,
    object: &Object,
    promise: Promise,
) -> Result<(Vec<u8>, String), Error> {
    let (Promise::Exact { size, .. } | Promise::Size(size)) = promise;
    let digest = match object {
        Object::Manifest(digest) | Object::Blob { digest, .. } => Some(*digest),
        Object::Tag(_) => None,
    };
    let mut first = 0;
    loop {
        let mut bytes = Vec::new();
        let get =
            Get { registry: wanted.registry, first, repository: wanted.repository.clone(), object: object.clone() };
        let done = lane.get(get, &mut |chunk| {
            bytes.extend_from_slice(chunk);
            // casemate-fetch sends no more; this is for one that was taken over.
            if bytes.len() as u64 > size {
                return Err(Trouble::Own(Error::document(object)(Flaw::TooLong(MAX_DOCUMENT))));
            }
            Ok(())
        });
        let done = done.map_err(|trouble: Trouble| trouble.about(wanted, object))?;
        let found = Digest::from_bytes(Sha256::digest(&bytes).into());
        let Some(digest) = digest.filter(|digest| *digest != found) else {
            // The same bytes have this size at every server, so none of them has what was promised.
            if matches!(promise, Promise::Exact { .. }) {
                check(&format!("{}: {object}", wanted.place()), promise, found, bytes.len() as u64)?;
            }
            return Ok((bytes, done.media_type));
        };
        first = done.endpoint.saturating_add(1);
        if first >= wanted.servers {
            let (expected, found) = (digest.to_string(), found.to_string());
            return Err(Error::Mismatch { object: format!("{}: {object}", wanted.place()), expected, found });
        }
    }
}

fn put(writer: &Writer<'_>, digest: Digest, bytes: &[u8]) -> Result<(), Error> {
    let promise = Promise::Exact { digest, size: bytes.len() as u64 };
    writer.write_blob(&digest.to_string(), &mut &bytes[..], promise, &mut |_| ()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_14_a_document_is_what_its_server_or_it_itself_calls_it() {
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let own = format!("{{\"mediaType\":\"{manifest}\"}}");
        assert_eq!(document_type(own.as_bytes(), "application/json".to_owned()).as_deref(), Ok(manifest));
        assert_eq!(document_type(b"{}", manifest.to_owned()).as_deref(), Ok(manifest));
        assert_eq!(document_type(b"{}", String::new()), Err(Flaw::NotAnImage(String::new())));
        let chart = b"{\"mediaType\":\"application/vnd.cncf.helm.config.v1+json\"}";
        assert!(matches!(document_type(chart, String::new()), Err(Flaw::NotAnImage(_))));
        assert!(document_type(b"<html>", "text/html".to_owned()).is_err());
    }
}
