//! `<state>/blobs/partial/<hex>`: a blob that is being downloaded. It is kept over interruptions and reboots, and becomes a blob of the
//! store when it has been verified from its first byte to its last.

use super::blobs::{Blobs, CHUNK, Expected};
use super::space::Reservation;
use crate::directory::names;
use crate::error::Error;
use casemate_wire::Digest;
use rustix::fs::{AtFlags, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// The bytes of a blob so far, and their hash.
#[derive(Debug)]
pub(crate) struct PartialBlob<'a> {
    blobs: &'a Blobs,
    file: File,
    path: PathBuf,
    digest: Digest,
    size: u64,
    at: u64,
    hash: Sha256,
    /// Disk space for the missing bytes.
    reservation: Option<Reservation<'a>>,
}

impl Blobs {
    /// Opens a partial blob, and hashes the bytes that an earlier pull has downloaded. They are verified at the end.
    pub(crate) fn resume(&self, digest: Digest, size: u64) -> Result<PartialBlob<'_>, Error> {
        let name = digest.hex();
        let path = self.partial_path.join(&name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&self.partial, &name, flags, Mode::from_raw_mode(0o600));
        let file = File::from(file.map_err(Error::errno("create", &path))?);
        let length = file.metadata().map_err(Error::io("stat", &path))?.len();
        let mut partial =
            PartialBlob { blobs: self, file, path, digest, size, at: 0, hash: Sha256::new(), reservation: None };
        if length > size {
            partial.truncate()?;
        }
        partial.hash_existing()?;
        partial.reservation = Some(self.reserve(&digest.to_string(), size.saturating_sub(partial.at))?);
        Ok(partial)
    }

    /// The names of partial blobs, with their sizes.
    pub(super) fn partials(&self) -> Result<Vec<(String, u64)>, Error> {
        let names = names(&self.partial).map_err(Error::io("list", &self.partial_path))?;
        let size = |name: &std::ffi::OsString| {
            let stat = rustix::fs::statat(&self.partial, name, AtFlags::SYMLINK_NOFOLLOW);
            stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
        };
        Ok(names.iter().map(|name| (name.to_string_lossy().into_owned(), size(name))).collect())
    }

    /// Removes all partial blobs. Returns the bytes freed.
    pub(crate) fn remove_partials(&self) -> Result<u64, Error> {
        let mut freed = 0;
        for name in names(&self.partial).map_err(Error::io("list", &self.partial_path))? {
            let path = self.partial_path.join(&name);
            let stat = rustix::fs::statat(&self.partial, &name, AtFlags::SYMLINK_NOFOLLOW);
            freed += stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0));
            rustix::fs::unlinkat(&self.partial, &name, AtFlags::empty()).map_err(Error::errno("remove", &path))?;
        }
        Ok(freed)
    }
}

impl PartialBlob<'_> {
    /// The number of bytes so far.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let at = self.at + bytes.len() as u64;
        if at > self.size {
            return self.expected().verify(&self.digest.to_string(), self.digest, at);
        }
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))?;
        self.reservation.iter_mut().for_each(|reservation| reservation.written(bytes.len() as u64));
        self.hash.update(bytes);
        self.at = at;
        Ok(())
    }

    /// Verifies the bytes and makes them a blob of the store; other bytes than the expected ones are removed.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let expected = self.expected();
        let found = Digest::from_bytes(self.hash.finalize().into());
        let blobs = self.blobs;
        let name = self.digest.hex();
        if let Err(error) = expected.verify(&self.digest.to_string(), found, self.at) {
            // The mismatch is reported; a file that cannot be removed now fails the next verification too.
            let _ = rustix::fs::unlinkat(&blobs.partial, &name, AtFlags::empty());
            return Err(error);
        }
        self.file.sync_all().map_err(Error::io("fsync", &self.path))?;
        rustix::fs::renameat(&blobs.partial, &name, &blobs.dir, &name)
            .map_err(Error::errno("rename the blob to", blobs.path(&name)))
    }

    const fn expected(&self) -> Expected {
        Expected::Exact { digest: self.digest, size: self.size }
    }

    fn truncate(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(Error::io("truncate", &self.path))
    }

    fn hash_existing(&mut self) -> Result<(), Error> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io("read", &self.path)(error)),
            };
            self.hash.update(buffer.get(..count).unwrap_or_default());
            self.at += count as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use std::fs;

    /// A state directory as the launcher makes it.
    fn state() -> tempfile::TempDir {
        let state = tempfile::tempdir().unwrap();
        ["blobs", "images"].into_iter().for_each(|name| fs::create_dir(state.path().join(name)).unwrap());
        state
    }

    fn digest(bytes: &[u8]) -> Digest {
        Digest::from_bytes(Sha256::digest(bytes).into())
    }

    #[test]
    fn download_resumes_and_is_verified_from_its_first_byte() {
        let state = state();
        let store = Store::open(state.path()).unwrap();
        let writer = store.lock(|| ()).unwrap();
        let blobs = writer.blobs();
        let whole = b"one two three";
        let size = 13;
        let name = digest(whole);
        let mut partial = blobs.resume(name, size).unwrap();
        partial.write(b"one ").unwrap();
        drop(partial);
        let mut partial = blobs.resume(name, size).unwrap();
        assert_eq!(partial.at(), 4);
        partial.write(b"two three").unwrap();
        assert!(partial.write(b"!").is_err(), "not one byte more");
        partial.finish().unwrap();
        assert!(blobs.has(&name, size).unwrap());
        assert_eq!(fs::read_dir(state.path().join("blobs/partial")).unwrap().count(), 0);
    }

    #[test]
    fn space_is_reserved_once() {
        let state = state();
        let store = Store::open(state.path()).unwrap().with_free_space(1);
        let writer = store.lock(|| ()).unwrap();
        let blobs = writer.blobs();
        // More than half of the free space, so that two reservations never fit, even while other processes write.
        let most = blobs.available().unwrap() / 10 * 6;
        let [first, second] = [b"first", b"other"].map(|name| digest(name));
        let mut partial = blobs.resume(first, most).unwrap();
        assert!(matches!(blobs.resume(second, most), Err(Error::NoSpace { .. })));
        assert!(blobs.available().unwrap() < most);
        partial.write(b"one").unwrap();
        assert!(blobs.resume(second, most).is_err());
        drop(partial);
        blobs.resume(second, most).unwrap();
        assert!(blobs.available().unwrap() > most, "the reserved space was released");
    }

    #[test]
    fn threat_14_changed_partial_blob_is_discarded() {
        let state = state();
        let store = Store::open(state.path()).unwrap();
        let writer = store.lock(|| ()).unwrap();
        let blobs = writer.blobs();
        let name = digest(b"one two three");
        let path = state.path().join("blobs/partial").join(name.hex());
        for (left, more) in [(&b"ONE "[..], &b"two three"[..]), (b"one", b"two"), (b"", b"")] {
            fs::write(&path, left).unwrap();
            let mut partial = blobs.resume(name, 13).unwrap();
            partial.write(more).unwrap();
            assert!(matches!(partial.finish(), Err(Error::Mismatch { .. })));
            assert!(!path.exists() && !blobs.has(&name, 13).unwrap());
        }
        fs::write(&path, [0; 100]).unwrap();
        assert_eq!(blobs.resume(name, 13).unwrap().at(), 0, "longer than it can be");
        assert_eq!(blobs.remove_partials().unwrap(), 0);
        assert!(!path.exists());
    }
}
