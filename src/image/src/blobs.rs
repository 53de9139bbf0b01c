//! `<state>/blobs/sha256/<hex>`: content by digest. A name appears only after every byte was proven and is on the disk.

mod partial;

use super::error::Error;
use super::flaw::Flaw;
use super::json::MAX_DOCUMENT;
use super::manifest::Descriptor;
use casemate_wire::Digest;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Work in progress has this name: the writer's lock leaves room for one, and a sweep knows it.
const PARTIAL: &str = ".partial";
const CHUNK: usize = 1 << 20;
/// What is said of a blob whose bytes are others than its name says.
pub(super) const CHANGED: &str = "its bytes have changed since they were proven";

/// The directory of blobs.
#[derive(Debug)]
pub(super) struct Blobs {
    dir: OwnedFd,
    path: PathBuf,
    /// `<state>/blobs/partial/<hex>`: what a pull has of a blob so far.
    partial: OwnedFd,
    partial_path: PathBuf,
    /// Bytes that a write leaves free.
    reserve: u64,
    /// Bytes that have room already and are not written yet: several blobs are brought at a time.
    promised: AtomicU64,
}

/// A promise of room for bytes that are not written yet. What is left of it in the end is given back.
#[derive(Debug)]
struct Room<'a> {
    blobs: &'a Blobs,
    left: u64,
}

impl Room<'_> {
    /// So many of them are written.
    fn written(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        self.blobs.promised.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.written(self.left);
    }
}

/// What the bytes of a blob have to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Promise {
    /// These, exactly.
    Exact {
        /// Their digest.
        digest: Digest,
        /// How many.
        size: u64,
    },
    /// This many; the digest is what comes out.
    Size(u64),
}

impl Blobs {
    /// `directory` holds both: whole blobs in `sha256`, others in `partial`.
    pub(super) fn new(dir: OwnedFd, partial: OwnedFd, directory: &Path) -> Self {
        let (path, partial_path) = (directory.join("sha256"), directory.join("partial"));
        Self { dir, path, partial, partial_path, reserve: 0, promised: AtomicU64::new(0) }
    }

    /// From now on, so many bytes stay free.
    pub(super) const fn reserve(&mut self, bytes: u64) {
        self.reserve = bytes;
    }

    /// Bytes that a write leaves free.
    pub(super) const fn reserved(&self) -> u64 {
        self.reserve
    }

    /// Promises room for so many bytes, if the reserve and what others were promised leave it.
    fn promise(&self, object: &str, needed: u64) -> Result<Room<'_>, Error> {
        // First taken and then judged, so that two at a time cannot both find the same bytes free.
        let before = self.promised.fetch_add(needed, Ordering::Relaxed);
        let room = Room { blobs: self, left: needed };
        let free = self.free()?.saturating_sub(self.reserve.saturating_add(before));
        if self.reserve == 0 || needed <= free {
            return Ok(room);
        }
        Err(Error::NoSpace { object: object.to_owned(), needed: Some(needed), reserve: self.reserve })
    }

    /// Bytes that can be written without touching the reserve, or what others were promised.
    pub(super) fn room(&self) -> Result<u64, Error> {
        let taken = self.reserve.saturating_add(self.promised.load(Ordering::Relaxed));
        Ok(self.free()?.saturating_sub(taken))
    }

    /// Bytes that can be written.
    pub(super) fn free(&self) -> Result<u64, Error> {
        let stat = rustix::fs::fstatvfs(&self.dir).map_err(Error::errno("ask for the free space of", &self.path))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Every blob with its bytes, sorted by digest.
    pub(super) fn list(&self) -> Result<Vec<(Digest, u64)>, Error> {
        let names = names(&self.dir).map_err(Error::io("list", &self.path))?;
        let digests = names.iter().filter_map(|name| Digest::from_hex(name.to_str()?).ok());
        let mut blobs = Vec::new();
        for digest in digests {
            match rustix::fs::statat(&self.dir, digest.hex(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => blobs.push((digest, u64::try_from(stat.st_size).unwrap_or(0))),
                // Removed since.
                Err(rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(Error::errno("stat", self.path(&digest.hex()))(errno)),
            }
        }
        blobs.sort_unstable();
        Ok(blobs)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The blob, open for reading at its start.
    pub(super) fn open(&self, digest: &Digest) -> Result<File, Error> {
        let name = digest.hex();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let blob = rustix::fs::openat(&self.dir, &name, flags, Mode::empty());
        match blob {
            Ok(blob) => Ok(File::from(blob)),
            Err(rustix::io::Errno::NOENT) => {
                Err(Error::Damaged { blob: *digest, reason: "it is not there".to_owned() })
            }
            Err(errno) => Err(Error::errno("open the blob", self.path(&name))(errno)),
        }
    }

    /// Whether there is something of this name.
    pub(super) fn is_there(&self, digest: &Digest) -> bool {
        rustix::fs::statat(&self.dir, digest.hex(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Whether a blob of this size is there.
    pub(super) fn has(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let name = digest.hex();
        match rustix::fs::statat(&self.dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(u64::try_from(stat.st_size) == Ok(size)),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(errno) => Err(Error::errno("stat", self.path(&name))(errno)),
        }
    }

    /// A document, proven: as many bytes as promised, and the digest is theirs.
    pub(super) fn read_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let digest = &descriptor.digest;
        let size = document_size(descriptor)?;
        let mut bytes = Vec::with_capacity(size);
        let path = self.path(&digest.hex());
        // One byte more than promised is enough to see that it is too long.
        let mut blob = self.open(digest)?.take(size as u64 + 1);
        blob.read_to_end(&mut bytes).map_err(Error::io("read the blob", &path))?;
        let found = Digest::from_bytes(Sha256::digest(&bytes).into());
        if found != *digest {
            return Err(Error::Damaged { blob: *digest, reason: CHANGED.to_owned() });
        }
        // Whoever refers to it promises its size too.
        check(
            &format!("blob {digest} of the store"),
            Promise::Exact { digest: *digest, size: descriptor.size },
            found,
            bytes.len() as u64,
        )?;
        Ok(bytes)
    }

    /// Writes a blob; it appears whole or not at all. [`Self::sync`] makes it outlive a power cut.
    pub(super) fn write(
        &self,
        object: &str,
        source: &mut dyn Read,
        promise: Promise,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Digest, Error> {
        let (Promise::Exact { size, .. } | Promise::Size(size)) = promise;
        let _room = self.promise(object, size)?;
        let partial = self.path(PARTIAL);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, PARTIAL, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(Error::errno("create", &partial))?);
        // One byte more than promised is enough to see that it is too long: a bomb does not fill the disk.
        let mut source = source.take(size.saturating_add(1));
        let (found, length) = copy(object, &mut source, &mut file, &partial, progress)?;
        check(object, promise, found, length)?;
        file.sync_all().map_err(Error::io("fsync", &partial))?;
        let name = found.hex();
        rustix::fs::renameat(&self.dir, PARTIAL, &self.dir, &name)
            .map_err(Error::errno("rename the blob to", self.path(&name)))?;
        Ok(found)
    }

    /// Makes every name in the directory outlive a power cut.
    pub(super) fn sync(&self) -> Result<(), Error> {
        rustix::fs::fsync(&self.dir).map_err(Error::errno("fsync", &self.path))
    }

    /// What is wrong with a blob's bytes, if anything is.
    pub(super) fn doubt(&self, digest: &Digest, progress: &mut dyn FnMut(u64)) -> Result<Option<String>, Error> {
        let (mut blob, mut hash, mut buffer) = (self.open(digest)?, Sha256::new(), vec![0; CHUNK]);
        let mut length = 0;
        loop {
            let count = match blob.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A bad block is damage like any other.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                    return Ok(Some(format!("it cannot be read: {error}")));
                }
                Err(error) => return Err(Error::io("read the blob", self.path(&digest.hex()))(error)),
            };
            hash.update(buffer.get(..count).unwrap_or_default());
            length += count as u64;
            progress(length);
        }
        let found = Digest::from_bytes(hash.finalize().into());
        Ok((found != *digest).then(|| CHANGED.to_owned()))
    }

    /// Removes one.
    pub(super) fn remove(&self, digest: &Digest) -> Result<(), Error> {
        let name = digest.hex();
        rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty()).map_err(Error::errno("remove", self.path(&name)))?;
        self.sync()
    }

    /// Names that are no digest: what a crash has left.
    pub(super) fn strays(&self) -> Result<Vec<String>, Error> {
        let names = names(&self.dir).map_err(Error::io("list", &self.path))?;
        let names = names.iter().map(|name| name.to_string_lossy().into_owned());
        Ok(names.filter(|name| Digest::from_hex(name).is_err()).collect())
    }

    /// Removes all but these. Returns how many bytes that freed.
    pub(super) fn keep_only(&self, keep: impl Fn(&Digest) -> bool) -> Result<u64, Error> {
        let mut freed = 0;
        for name in names(&self.dir).map_err(Error::io("list", &self.path))? {
            let digest = name.to_str().and_then(|name| Digest::from_hex(name).ok());
            if digest.is_some_and(|digest| keep(&digest)) {
                continue;
            }
            let path = self.path.join(&name);
            let stat = rustix::fs::statat(&self.dir, &name, AtFlags::SYMLINK_NOFOLLOW);
            freed += stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0));
            rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty()).map_err(Error::errno("remove", &path))?;
        }
        Ok(freed)
    }
}

/// The names in a directory, without `.` and `..`.
pub(super) fn names(dir: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// A document's size, refused where no document may be so large.
pub(super) fn document_size(descriptor: &Descriptor) -> Result<usize, Error> {
    match usize::try_from(descriptor.size) {
        Ok(size) if size <= MAX_DOCUMENT => Ok(size),
        _ => Err(Error::document(descriptor.digest)(Flaw::TooLong(MAX_DOCUMENT))),
    }
}

fn copy(
    object: &str,
    source: &mut dyn Read,
    file: &mut File,
    path: &PathBuf,
    progress: &mut dyn FnMut(u64),
) -> Result<(Digest, u64), Error> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut length = 0;
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io("read", object)(error)),
        };
        let chunk = buffer.get(..count).unwrap_or_default();
        hash.update(chunk);
        file.write_all(chunk).map_err(Error::io("write", path))?;
        length += count as u64;
        progress(length);
    }
    Ok((Digest::from_bytes(hash.finalize().into()), length))
}

/// Whether what came is what was promised.
pub(super) fn check(object: &str, promise: Promise, found: Digest, length: u64) -> Result<(), Error> {
    let mismatch =
        |expected: String, found: String| Err(Error::Mismatch { object: object.to_owned(), expected, found });
    match promise {
        Promise::Exact { size, .. } | Promise::Size(size) if length != size => {
            let found = if length > size { "more".to_owned() } else { format!("{length}") };
            mismatch(format!("{size} bytes"), found)
        }
        Promise::Exact { digest, .. } if digest != found => mismatch(digest.to_string(), found.to_string()),
        _ => Ok(()),
    }
}
