//! The layer of a packed image: a tar archive, compressed with gzip, the same for the same tree on every host.
//!
//! Entries are sorted and have one time and one owner, no user names and no extended attributes. The encoder gets blocks of one size, so
//! that its output does not depend on the sizes of reads; Cargo.lock fixes the encoder.

use super::tree::{Kind, Tree};
use crate::error::Error;
use casemate_wire::Digest;
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

const BLOCK: usize = 64 * 1024;

/// A layer in an unnamed temporary file.
#[derive(Debug)]
pub(super) struct PackedLayer {
    /// The blob.
    pub(super) file: File,
    /// The blob's digest.
    pub(super) digest: Digest,
    /// The blob's size in bytes.
    pub(super) size: u64,
    /// The digest of the uncompressed archive.
    pub(super) diff_id: Digest,
}

/// The metadata that all entries share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    /// Seconds since 1970.
    pub(super) time: u64,
    /// The owner.
    pub(super) uid: u32,
    /// The group.
    pub(super) gid: u32,
}

/// The source of a layer's files.
pub(super) enum Source<'a> {
    /// A directory.
    Tree(&'a Tree),
    /// A program at the root, mode 0755: the file, its path for messages, its name in the layer.
    Binary(&'a File, &'a Path, &'a Path),
}

/// Writes the layer.
pub(super) fn write(source: &Source<'_>, stamp: Stamp) -> Result<PackedLayer, Error> {
    let (file, path) = temporary()?;
    let failed = |error: io::Error| Error::io("write the layer to a temporary file in", &path)(error);
    let blob = Hashed { inner: file, hash: Sha256::new(), count: 0 };
    let blocks = Blocks { inner: GzEncoder::new(blob, Compression::new(6)), block: Vec::with_capacity(BLOCK) };
    let mut builder = Builder::new(Hashed { inner: blocks, hash: Sha256::new(), count: 0 });
    match source {
        Source::Tree(tree) => {
            for entry in &tree.entries {
                append(&mut builder, tree, entry, stamp)?;
            }
        }
        Source::Binary(file, path, name) => {
            let size = file.metadata().map_err(Error::io("stat", path))?.len();
            let mut header = header(EntryType::Regular, 0o755, stamp);
            append_file(&mut builder, &mut header, name, file, size, path)?;
        }
    }
    let archive = builder.into_inner().map_err(failed)?;
    let diff_id = archive.digest();
    let blob = archive.inner.finish().map_err(failed)?;
    let digest = blob.digest();
    let size = blob.count;
    Ok(PackedLayer { file: blob.inner, digest, size, diff_id })
}

fn append<W: Write>(
    builder: &mut Builder<W>,
    tree: &Tree,
    entry: &super::tree::Entry,
    stamp: Stamp,
) -> Result<(), Error> {
    let source = tree.source(&entry.path);
    let append = Error::io("add to the layer", &source);
    match &entry.kind {
        Kind::Directory => {
            // Tar writers end the name of a directory with a slash.
            let path = entry.path.join("");
            builder.append_data(&mut header(EntryType::Directory, entry.mode, stamp), path, io::empty()).map_err(append)
        }
        Kind::File(size) => {
            let mut header = header(EntryType::Regular, entry.mode, stamp);
            append_file(builder, &mut header, &entry.path, &tree.open(&entry.path)?, *size, &source)
        }
        Kind::Symlink(target) => {
            builder.append_link(&mut header(EntryType::Symlink, 0o777, stamp), &entry.path, target).map_err(append)
        }
        Kind::HardLink(first) => {
            builder.append_link(&mut header(EntryType::Link, entry.mode, stamp), &entry.path, first).map_err(append)
        }
    }
}

fn append_file<W: Write>(
    builder: &mut Builder<W>,
    header: &mut Header,
    name: &Path,
    file: &File,
    size: u64,
    source: &Path,
) -> Result<(), Error> {
    header.set_size(size);
    let mut content = Exactly { file, left: size };
    builder.append_data(header, name, &mut content).map_err(Error::io("add to the layer", source))
}

fn header(kind: EntryType, mode: u32, stamp: Stamp) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(stamp.uid.into());
    header.set_gid(stamp.gid.into());
    header.set_mtime(stamp.time);
    header.set_size(0);
    header
}

/// Reads exactly as many bytes as the header says: a file that shrinks or grows while it is read would shift all later entries.
struct Exactly<'a> {
    file: &'a File,
    left: u64,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return match self.file.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::other("it grew while it was read")),
            };
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(buffer.get_mut(..length).unwrap_or_default())?;
        if count == 0 && length > 0 {
            return Err(io::Error::other("it shrank while it was read"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// Counts and hashes the bytes that are written.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
    count: u64,
}

impl<W> Hashed<W> {
    fn digest(&self) -> Digest {
        Digest::from_bytes(self.hash.clone().finalize().into())
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes blocks of one size to the encoder; the last one may be shorter.
struct Blocks<W: Write> {
    inner: GzEncoder<W>,
    block: Vec<u8>,
}

impl<W: Write> Blocks<W> {
    fn finish(mut self) -> io::Result<W> {
        self.inner.write_all(&self.block)?;
        self.inner.finish()
    }
}

impl<W: Write> Write for Blocks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(bytes.get(..count).unwrap_or_default());
        if self.block.len() == BLOCK {
            self.inner.write_all(&self.block)?;
            self.block.clear();
        }
        Ok(count)
    }

    /// Does nothing: flushing the encoder would end a deflate block.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An unnamed file, which the kernel removes when it is closed.
fn temporary() -> Result<(File, PathBuf), Error> {
    let dir = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = rustix::fs::open(&dir, flags, Mode::from_raw_mode(0o600))
        .map_err(Error::errno("make a temporary file (TMPDIR chooses where) in", &dir))?;
    Ok((file.into(), dir))
}
