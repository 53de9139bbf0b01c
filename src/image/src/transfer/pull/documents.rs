//! Downloads the documents of an image: few, small, and one after another, as each refers to the next.

use crate::documents::{self, Descriptor, MAX_DOCUMENT, ResolvedImage, resolve};
use crate::error::Error;
use crate::registry::connection;
use crate::registry::{Connection, Get, ImageRequest, Object};
use crate::store::{Expected, Writer};
use casemate_wire::Digest;
use sha2::{Digest as _, Sha256};

/// Why a download failed: the connection, or the store that its bytes go to.
pub(super) enum DownloadError {
    Connection(connection::Error),
    Store(Error),
}

impl From<connection::Error> for DownloadError {
    fn from(error: connection::Error) -> Self {
        Self::Connection(error)
    }
}

impl DownloadError {
    /// Adds the repository and the object of the download.
    pub(super) fn in_transfer(self, image: &ImageRequest, object: &Object) -> Error {
        match self {
            Self::Store(error) => error,
            Self::Connection(error) => {
                Error::Fetch { repository: image.repository_name(), object: object.to_string(), error }
            }
        }
    }
}

/// An image whose documents are in the store, and whose layers are missing still.
pub(super) struct PendingImage<'a> {
    pub(super) request: &'a ImageRequest,
    pub(super) pin: Descriptor,
    pub(super) resolved: ResolvedImage,
    /// Bytes that were downloaded for it so far.
    pub(super) received: u64,
}

/// Downloads the missing documents of an image, and verifies all of them.
pub(super) fn download<'w>(
    writer: &Writer<'_>,
    connection: &mut Connection,
    request: &'w ImageRequest,
) -> Result<PendingImage<'w>, Error> {
    let mut received = 0;
    let pin = match writer.store().record(&request.pin.digest)? {
        Some(record) => record.descriptor(),
        None => {
            let pin = pinned_document(writer, connection, request)?;
            received += pin.size;
            pin
        }
    };
    let resolved = resolve(&pin, writer.store().host(), &mut |document| {
        let size = document.document_size()? as u64;
        if writer.has_blob(&document.digest, size)?
            && let Ok(bytes) = writer.read_document(document)
        {
            return Ok(bytes);
        }
        let bytes = document_of(connection, request, document, size)?;
        received += size;
        put(writer, document.digest, &bytes)?;
        Ok::<_, Error>(bytes)
    })?;
    Ok(PendingImage { request, pin, resolved, received })
}

/// Downloads the pinned document. Only its digest is known before, so its size and media type are those that the server sends.
fn pinned_document(
    writer: &Writer<'_>,
    connection: &mut Connection,
    request: &ImageRequest,
) -> Result<Descriptor, Error> {
    let digest = request.pin.digest;
    let object = Object::Manifest(digest);
    let (bytes, content_type) = fetch(connection, request, &object, Expected::Size(MAX_DOCUMENT as u64))?;
    let media_type = media_type(&bytes, content_type).map_err(Error::document(digest))?;
    put(writer, digest, &bytes)?;
    Ok(Descriptor { media_type, digest, size: bytes.len() as u64 })
}

/// Downloads a document that another one refers to.
pub(super) fn document_of(
    connection: &mut Connection,
    request: &ImageRequest,
    document: &Descriptor,
    size: u64,
) -> Result<Vec<u8>, Error> {
    let object = match documents::kind(&document.media_type) {
        Some(_) => Object::Manifest(document.digest),
        None => Object::Blob { digest: document.digest, size, offset: 0 },
    };
    Ok(fetch(connection, request, &object, Expected::Exact { digest: document.digest, size })?.0)
}

/// The media type of a pinned document: the server's `Content-Type` if that is the type of an index or manifest, else the document's own
/// `mediaType`. Parsing the document checks that both agree (CVE-2021-41190).
pub(super) fn media_type(bytes: &[u8], content_type: String) -> Result<String, documents::Error> {
    if documents::kind(&content_type).is_some() {
        return Ok(content_type);
    }
    let document = documents::parse_json(bytes)?;
    let own = document.get("mediaType").and_then(|own| own.as_str());
    match own.filter(|own| documents::kind(own).is_some()) {
        Some(own) => Ok(own.to_owned()),
        None => Err(documents::Error::NotAnImage(own.map_or(content_type, str::to_owned))),
    }
}

/// Downloads a document from the first server that sends the right bytes. Returns it with the server's `Content-Type`.
pub(super) fn fetch(
    connection: &mut Connection,
    request: &ImageRequest,
    object: &Object,
    expected: Expected,
) -> Result<(Vec<u8>, String), Error> {
    let size = expected.size();
    let digest = match object {
        Object::Manifest(digest) | Object::Blob { digest, .. } => Some(*digest),
        Object::Tag(_) => None,
    };
    let mut first = 0;
    loop {
        let mut bytes = Vec::new();
        let get =
            Get { registry: request.registry, first, repository: request.repository.clone(), object: object.clone() };
        let done = connection.get(get, &mut |chunk| {
            bytes.extend_from_slice(chunk);
            // casemate-fetch sends no more, unless it was compromised.
            if bytes.len() as u64 > size {
                return Err(DownloadError::Store(Error::document(object)(documents::Error::TooLong(MAX_DOCUMENT))));
            }
            Ok(())
        });
        let done = done.map_err(|error: DownloadError| error.in_transfer(request, object))?;
        let found = Digest::from_bytes(Sha256::digest(&bytes).into());
        let Some(digest) = digest.filter(|digest| *digest != found) else {
            // Bytes of the right digest have the same size at every server, so a wrong size is the descriptor's error.
            if matches!(expected, Expected::Exact { .. }) {
                expected.verify(&format!("{}: {object}", request.repository_name()), found, bytes.len() as u64)?;
            }
            return Ok((bytes, done.media_type));
        };
        first = done.endpoint.saturating_add(1);
        if first >= request.servers {
            let expected = digest.to_string();
            let found = found.to_string();
            let object = format!("{}: {object}", request.repository_name());
            return Err(Error::Mismatch { object, expected, found });
        }
    }
}

fn put(writer: &Writer<'_>, digest: Digest, bytes: &[u8]) -> Result<(), Error> {
    let expected = Expected::Exact { digest, size: bytes.len() as u64 };
    writer.write_blob(&digest.to_string(), &mut &bytes[..], expected, &mut |_| ()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_14_media_type_is_the_servers_or_the_documents_own() {
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let own = format!("{{\"mediaType\":\"{manifest}\"}}");
        assert_eq!(media_type(own.as_bytes(), "application/json".to_owned()).as_deref(), Ok(manifest));
        assert_eq!(media_type(b"{}", manifest.to_owned()).as_deref(), Ok(manifest));
        assert_eq!(media_type(b"{}", String::new()), Err(documents::Error::NotAnImage(String::new())));
        let chart = b"{\"mediaType\":\"application/vnd.cncf.helm.config.v1+json\"}";
        assert!(matches!(media_type(chart, String::new()), Err(documents::Error::NotAnImage(_))));
        assert!(media_type(b"<html>", "text/html".to_owned()).is_err());
    }
}
