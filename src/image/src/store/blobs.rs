//! `<state>/blobs/sha256/<hex>`: content by digest. A blob gets its name only after every byte was verified and is on the disk.

use super::space::{Reservation, Space};
use crate::directory::names;
use crate::documents::Descriptor;
use crate::error::Error;
use casemate_wire::Digest;
use rustix::fs::{AtFlags, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The name of a blob that is being written. There is one at a time, by the writer's lock.
const PARTIAL: &str = ".partial";
/// Bytes of one read.
pub(super) const CHUNK: usize = 1 << 20;
/// The damage of a blob whose bytes do not have its digest.
pub(crate) const CHANGED: &str = "its bytes have changed since they were verified";

/// The directory of blobs.
#[derive(Debug)]
pub(crate) struct Blobs {
    pub(super) dir: OwnedFd,
    path: PathBuf,
    /// `<state>/blobs/partial/<hex>`: the bytes of a blob that an interrupted pull has downloaded.
    pub(super) partial: OwnedFd,
    pub(super) partial_path: PathBuf,
    pub(super) space: Space,
}

/// The expected content of a blob.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// A digest and a size.
    Exact {
        /// The digest.
        digest: Digest,
        /// Bytes.
        size: u64,
    },
    /// A size; any digest.
    Size(u64),
}

impl Expected {
    /// Bytes.
    pub(crate) const fn size(self) -> u64 {
        let (Self::Exact { size, .. } | Self::Size(size)) = self;
        size
    }

    /// Refuses content of another digest or size.
    pub(crate) fn verify(self, object: &str, digest: Digest, length: u64) -> Result<(), Error> {
        let mismatch =
            |expected: String, found: String| Err(Error::Mismatch { object: object.to_owned(), expected, found });
        if length != self.size() {
            let found = if length > self.size() { "more".to_owned() } else { format!("{length}") };
            return mismatch(format!("{} bytes", self.size()), found);
        }
        match self {
            Self::Exact { digest: expected, .. } if expected != digest => {
                mismatch(expected.to_string(), digest.to_string())
            }
            _ => Ok(()),
        }
    }
}

impl Blobs {
    /// `directory` holds both: complete blobs in `sha256`, incomplete ones in `partial`.
    pub(super) fn new(dir: OwnedFd, partial: OwnedFd, directory: &Path) -> Self {
        let path = directory.join("sha256");
        let partial_path = directory.join("partial");
        Self { dir, path, partial, partial_path, space: Space::new() }
    }

    /// Reserves space for `object`.
    pub(super) fn reserve(&self, object: &str, needed: u64) -> Result<Reservation<'_>, Error> {
        self.space.reserve(object, needed, self.free()?)
    }

    /// Bytes that can be reserved.
    pub(crate) fn available(&self) -> Result<u64, Error> {
        Ok(self.space.available(self.free()?))
    }

    /// Free bytes of the file system.
    pub(super) fn free(&self) -> Result<u64, Error> {
        let stat = rustix::fs::fstatvfs(&self.dir).map_err(Error::errno("ask for the free space of", &self.path))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Every blob with its size, sorted by digest.
    pub(super) fn list(&self) -> Result<Vec<(Digest, u64)>, Error> {
        let names = names(&self.dir).map_err(Error::io("list", &self.path))?;
        let digests = names.iter().filter_map(|name| Digest::from_hex(name.to_str()?).ok());
        let mut blobs = Vec::new();
        for digest in digests {
            match rustix::fs::statat(&self.dir, digest.hex(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => blobs.push((digest, u64::try_from(stat.st_size).unwrap_or(0))),
                // Removed since the directory was listed.
                Err(rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(Error::errno("stat", self.path(&digest.hex()))(errno)),
            }
        }
        blobs.sort_unstable();
        Ok(blobs)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The blob, open for reading at its start.
    pub(super) fn open(&self, digest: &Digest) -> Result<File, Error> {
        let name = digest.hex();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let blob = rustix::fs::openat(&self.dir, &name, flags, Mode::empty());
        match blob {
            Ok(blob) => Ok(File::from(blob)),
            Err(rustix::io::Errno::NOENT) => Err(Error::Damaged { blob: *digest, reason: "it is missing".to_owned() }),
            Err(errno) => Err(Error::errno("open the blob", self.path(&name))(errno)),
        }
    }

    /// Whether a file has the blob's name.
    pub(super) fn exists(&self, digest: &Digest) -> bool {
        rustix::fs::statat(&self.dir, digest.hex(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Whether there is a blob of this digest and size. Its content is not read.
    pub(crate) fn has(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let name = digest.hex();
        match rustix::fs::statat(&self.dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(u64::try_from(stat.st_size) == Ok(size)),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(errno) => Err(Error::errno("stat", self.path(&name))(errno)),
        }
    }

    /// Reads a document and verifies its digest and size.
    pub(super) fn read_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let digest = &descriptor.digest;
        let size = descriptor.document_size()?;
        let mut bytes = Vec::with_capacity(size);
        let path = self.path(&digest.hex());
        // One byte more than expected is enough to tell that it is too long.
        let mut blob = self.open(digest)?.take(size as u64 + 1);
        blob.read_to_end(&mut bytes).map_err(Error::io("read the blob", &path))?;
        let found = Digest::from_bytes(Sha256::digest(&bytes).into());
        if found != *digest {
            return Err(Error::Damaged { blob: *digest, reason: CHANGED.to_owned() });
        }
        // The digest is right; a descriptor that gives another size is not.
        let expected = Expected::Exact { digest: *digest, size: descriptor.size };
        expected.verify(&format!("blob {digest} of the store"), found, bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Writes a blob, which appears complete or not at all. [`Self::sync`] makes its name survive a power cut.
    pub(super) fn write(
        &self,
        object: &str,
        source: &mut dyn Read,
        expected: Expected,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Digest, Error> {
        let _reservation = self.reserve(object, expected.size())?;
        let partial = self.path(PARTIAL);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, PARTIAL, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(Error::errno("create", &partial))?);
        // One byte more than expected is enough to tell that it is too long, so an endless source does not fill the disk.
        let mut source = source.take(expected.size().saturating_add(1));
        let (found, length) = copy(object, &mut source, &mut file, &partial, progress)?;
        expected.verify(object, found, length)?;
        file.sync_all().map_err(Error::io("fsync", &partial))?;
        let name = found.hex();
        rustix::fs::renameat(&self.dir, PARTIAL, &self.dir, &name)
            .map_err(Error::errno("rename the blob to", self.path(&name)))?;
        Ok(found)
    }

    /// Makes every name in the directory survive a power cut.
    pub(super) fn sync(&self) -> Result<(), Error> {
        rustix::fs::fsync(&self.dir).map_err(Error::errno("fsync", &self.path))
    }

    /// Hashes a blob. Returns its damage; `None` where it has none.
    pub(super) fn verify(&self, digest: &Digest, progress: &mut dyn FnMut(u64)) -> Result<Option<String>, Error> {
        let mut blob = self.open(digest)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut length = 0;
        loop {
            let count = match blob.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A bad block of the disk is damage of this blob, and no reason to stop.
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

    /// Removes a blob.
    pub(super) fn remove(&self, digest: &Digest) -> Result<(), Error> {
        let name = digest.hex();
        rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty()).map_err(Error::errno("remove", self.path(&name)))?;
        self.sync()
    }

    /// Names that are not digests: left by a crash.
    pub(super) fn leftovers(&self) -> Result<Vec<String>, Error> {
        let names = names(&self.dir).map_err(Error::io("list", &self.path))?;
        let names = names.iter().map(|name| name.to_string_lossy().into_owned());
        Ok(names.filter(|name| Digest::from_hex(name).is_err()).collect())
    }

    /// Removes all blobs but these. Returns how many bytes that freed.
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
