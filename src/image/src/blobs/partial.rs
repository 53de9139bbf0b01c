//! A blob on its way from a registry: kept under its digest over interruptions and reboots, and proven from its first byte to its
//! last before it becomes a blob of the store.

use super::{Blobs, CHUNK, Room, check, names};
use crate::blobs::Promise;
use crate::error::Error;
use casemate_wire::Digest;
use rustix::fs::{AtFlags, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// What there is of a blob, and the state of its hash there.
#[derive(Debug)]
pub(crate) struct Partial<'a> {
    blobs: &'a Blobs,
    file: File,
    path: PathBuf,
    digest: Digest,
    size: u64,
    at: u64,
    hash: Sha256,
    /// For the rest of it.
    room: Option<Room<'a>>,
}

impl Blobs {
    /// Goes on with a blob: reads and hashes what an earlier pull has left of it. Nothing of that is believed before the end.
    pub(crate) fn go_on(&self, digest: Digest, size: u64) -> Result<Partial<'_>, Error> {
        let name = digest.hex();
        let path = self.partial_path.join(&name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&self.partial, &name, flags, Mode::from_raw_mode(0o600));
        let file = File::from(file.map_err(Error::errno("create", &path))?);
        let length = file.metadata().map_err(Error::io("stat", &path))?.len();
        let mut partial = Partial { blobs: self, file, path, digest, size, at: 0, hash: Sha256::new(), room: None };
        if length > size {
            partial.start_over()?;
        }
        partial.hash_what_is_there()?;
        partial.room = Some(self.promise(&digest.to_string(), size.saturating_sub(partial.at))?);
        Ok(partial)
    }

    /// What a pull has not finished, with its bytes so far.
    pub(crate) fn partials(&self) -> Result<Vec<(String, u64)>, Error> {
        let names = names(&self.partial).map_err(Error::io("list", &self.partial_path))?;
        let size = |name: &std::ffi::OsString| {
            let stat = rustix::fs::statat(&self.partial, name, AtFlags::SYMLINK_NOFOLLOW);
            stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
        };
        Ok(names.iter().map(|name| (name.to_string_lossy().into_owned(), size(name))).collect())
    }

    /// Removes what was left of blobs that nobody waits for any more. Returns the bytes freed.
    pub(crate) fn forget_partials(&self) -> Result<u64, Error> {
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

impl Partial<'_> {
    /// How many bytes there are.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let at = self.at + bytes.len() as u64;
        if at > self.size {
            let promise = Promise::Exact { digest: self.digest, size: self.size };
            return check(&self.digest.to_string(), promise, self.digest, at);
        }
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))?;
        self.room.iter_mut().for_each(|room| room.written(bytes.len() as u64));
        self.hash.update(bytes);
        self.at = at;
        Ok(())
    }

    /// Proves it and makes it a blob of the store; what is not the promised bytes is removed.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let found = Digest::from_bytes(self.hash.finalize().into());
        let promise = Promise::Exact { digest: self.digest, size: self.size };
        let (blobs, name) = (self.blobs, self.digest.hex());
        if let Err(error) = check(&self.digest.to_string(), promise, found, self.at) {
            // The mismatch counts; what cannot be removed now is seen to be wrong again.
            let _ = rustix::fs::unlinkat(&blobs.partial, &name, AtFlags::empty());
            return Err(error);
        }
        self.file.sync_all().map_err(Error::io("fsync", &self.path))?;
        rustix::fs::renameat(&blobs.partial, &name, &blobs.dir, &name)
            .map_err(Error::errno("rename the blob to", blobs.path(&name)))
    }

    fn start_over(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(Error::io("truncate", &self.path))
    }

    fn hash_what_is_there(&mut self) -> Result<(), Error> {
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
    use crate::Store;
    use std::fs;

    /// What the launcher makes.
    fn state() -> tempfile::TempDir {
        let state = tempfile::tempdir().unwrap();
        ["blobs", "images"].into_iter().for_each(|name| fs::create_dir(state.path().join(name)).unwrap());
        state
    }

    fn digest(bytes: &[u8]) -> Digest {
        Digest::from_bytes(Sha256::digest(bytes).into())
    }

    #[test]
    fn a_blob_goes_on_where_it_was_and_is_proven_from_its_start() {
        let state = state();
        let store = Store::open(state.path()).unwrap();
        let writer = store.lock(|| ()).unwrap();
        let blobs = writer.blobs();
        let (whole, size) = (b"one two three", 13);
        let name = digest(whole);
        let mut partial = blobs.go_on(name, size).unwrap();
        partial.write(b"one ").unwrap();
        drop(partial);
        let mut partial = blobs.go_on(name, size).unwrap();
        assert_eq!(partial.at(), 4);
        partial.write(b"two three").unwrap();
        assert!(partial.write(b"!").is_err(), "not one byte more");
        partial.finish().unwrap();
        assert!(blobs.has(&name, size).unwrap());
        assert_eq!(fs::read_dir(state.path().join("blobs/partial")).unwrap().count(), 0);
    }

    #[test]
    fn no_byte_of_room_is_promised_twice() {
        let state = state();
        let store = Store::open(state.path()).unwrap().with_reserve(1);
        let writer = store.lock(|| ()).unwrap();
        let blobs = writer.blobs();
        // More than half of what there is: on a machine where others write too, two of them fit at no time.
        let most = blobs.room().unwrap() / 10 * 6;
        let [first, second] = [b"first", b"other"].map(|name| digest(name));
        let mut partial = blobs.go_on(first, most).unwrap();
        assert!(matches!(blobs.go_on(second, most), Err(Error::NoSpace { .. })));
        assert!(blobs.room().unwrap() < most);
        partial.write(b"one").unwrap();
        assert!(blobs.go_on(second, most).is_err());
        drop(partial);
        blobs.go_on(second, most).unwrap();
        assert!(blobs.room().unwrap() > most, "what was promised has come back");
    }

    #[test]
    fn threat_14_what_was_tampered_with_meanwhile_is_thrown_away() {
        let state = state();
        let store = Store::open(state.path()).unwrap();
        let writer = store.lock(|| ()).unwrap();
        let blobs = writer.blobs();
        let name = digest(b"one two three");
        let path = state.path().join("blobs/partial").join(name.hex());
        for (left, more) in [(&b"ONE "[..], &b"two three"[..]), (b"one", b"two"), (b"", b"")] {
            fs::write(&path, left).unwrap();
            let mut partial = blobs.go_on(name, 13).unwrap();
            partial.write(more).unwrap();
            assert!(matches!(partial.finish(), Err(Error::Mismatch { .. })));
            assert!(!path.exists() && !blobs.has(&name, 13).unwrap());
        }
        fs::write(&path, [0; 100]).unwrap();
        assert_eq!(blobs.go_on(name, 13).unwrap().at(), 0, "longer than it can be");
        assert_eq!(blobs.forget_partials().unwrap(), 0);
        assert!(!path.exists());
    }
}
