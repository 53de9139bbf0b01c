//! A bundle: an OCI archive with a file, the profiles that it names, and every image that it pins, with the same digests. Any reader of
//! OCI archives reads the images. The file and its profiles lie below `casemate/`, where `tar` can extract them.

use crate::documents::{self, Descriptor, write};
use crate::error::Error;
use crate::layout::Input;
use crate::store::{CHANGED, Progress, Store};
use casemate_wire::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use tar::{Builder, EntryType, Header};

const FILE: &str = "casemate/casemate.toml";

/// The contents of a bundle.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The file's text.
    pub file: &'a str,
    /// Profiles: the path in the file, and the profile's text.
    pub profiles: Vec<(String, String)>,
    /// Images: the pin, and its name in the file.
    pub images: Vec<(Digest, String)>,
}

/// Writes the archive. The same store and file give the same bytes. Every blob is verified while it is copied.
pub fn save(store: &Store, contents: &Contents<'_>, out: impl Write, progress: &mut dyn Progress) -> Result<(), Error> {
    let mut entries = Vec::new();
    let mut blobs = BTreeMap::new();
    for (pin, name) in &contents.images {
        let record = store.record(pin)?.ok_or(Error::NotImported(*pin))?;
        // Verifies the documents, and with them that the record's list of blobs is complete.
        store.resolve(pin)?;
        entries.push((record.descriptor(), name.clone()));
        blobs.extend(record.blobs);
    }
    entries.sort_by(|a: &(Descriptor, String), b| (a.0.digest, &a.1).cmp(&(b.0.digest, &b.1)));
    entries.dedup();
    let mut archive = Builder::new(out);
    append(&mut archive, "oci-layout", write::LAYOUT)?;
    let index = write::layout_index_of(&entries).map_err(Error::document("the new index.json"))?;
    append(&mut archive, "index.json", &index)?;
    append(&mut archive, FILE, contents.file.as_bytes())?;
    for (path, text) in &contents.profiles {
        append(&mut archive, &member(path), text.as_bytes())?;
    }
    for (digest, size) in blobs {
        progress.blob(&digest.to_string(), size);
        let mut source =
            HashedBlob { blob: store.open_blob(&digest)?.take(size), hash: Sha256::new(), done: 0, progress };
        let name = format!("blobs/sha256/{}", digest.hex());
        let written = archive.append_data(&mut header(size), &name, &mut source);
        let found = Digest::from_bytes(source.hash.finalize().into());
        let done = source.done;
        written.map_err(Error::io("write", &name))?;
        if found != digest || done != size {
            return Err(Error::Damaged { blob: digest, reason: CHANGED.to_owned() });
        }
    }
    let mut out = archive.into_inner().map_err(Error::io("write", "the bundle"))?;
    out.flush().map_err(Error::io("write", "the bundle"))
}

/// The text of the file in a bundle.
pub fn file(input: &Input, limit: usize) -> Result<String, Error> {
    let bytes = input.read(FILE, limit)?;
    let not_utf8 = |_| documents::Error::Text { what: "file", reason: "is not UTF-8", found: FILE.to_owned() };
    String::from_utf8(bytes).map_err(not_utf8).map_err(Error::document(FILE))
}

/// Verifies a profile of a bundle. `path`: the path in the file.
pub fn verify_profile(input: &Input, path: &str, expected: &Digest, limit: usize) -> Result<(), Error> {
    let bytes = input.read(&member(path), limit)?;
    let found = Digest::from_bytes(Sha256::digest(&bytes).into());
    if found == *expected {
        return Ok(());
    }
    Err(Error::Mismatch { object: member(path), expected: expected.to_string(), found: found.to_string() })
}

/// Whether a profile of this path belongs into a bundle: it lies beside the file or below its directory.
pub fn includes(path: &str) -> bool {
    Path::new(path).is_relative()
}

/// The path of a profile in the archive.
fn member(path: &str) -> String {
    format!("casemate/{path}")
}

fn append(archive: &mut Builder<impl Write>, name: &str, bytes: &[u8]) -> Result<(), Error> {
    archive.append_data(&mut header(bytes.len() as u64), name, bytes).map_err(Error::io("write", name))
}

fn header(size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

/// A blob that is hashed while it is read.
struct HashedBlob<'a, R> {
    blob: R,
    hash: Sha256,
    done: u64,
    progress: &'a mut dyn Progress,
}

impl<R: Read> Read for HashedBlob<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.blob.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        self.done += count as u64;
        self.progress.at(self.done);
        Ok(count)
    }
}
