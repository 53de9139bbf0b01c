//! `<state>/images/trees/<hex of the ChainID>`: what each layer was when it was unpacked. The layers belong to the helper's user,
//! these records to the manager's: who changes a layer on the disk cannot change what is known of it.
//!
//! The first line is a header in JSON, the rest the list that `casemate-unpack list` wrote, by which a difference gets its name.

use super::blobs;
use super::error::Error;
use super::flaw::Flaw;
use super::json;
use casemate_wire::{Digest, LayerReport};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

const PARTIAL: &str = ".partial";
const VERSION: u32 = 1;
/// The longest header: its report names at most 32 things that were left out.
const MAX_HEADER: u64 = 128 * 1024;

/// The directory of records.
#[derive(Debug)]
pub(super) struct Trees {
    dir: OwnedFd,
    path: PathBuf,
}

/// What is known of one layer without its list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    version: u32,
    /// sha256 of the list.
    list: String,
    /// Bytes that its files take on the disk.
    pub disk: u64,
    /// What unpack saw.
    pub report: LayerReport,
}

impl Trees {
    pub(super) const fn new(dir: OwnedFd, path: PathBuf) -> Self {
        Self { dir, path }
    }

    /// Locks the directory: the lock of those who use images, as that of those who write is the one of the records.
    pub(super) fn lock(&self, how: (FlockOperation, FlockOperation), waiting: impl FnOnce()) -> Result<OwnedFd, Error> {
        super::locks::lock(&self.dir, &self.path, how, waiting)
    }

    /// The same without waiting; `None`: somebody else has it.
    pub(super) fn try_lock(&self, how: FlockOperation) -> Result<Option<OwnedFd>, Error> {
        super::locks::try_lock(&self.dir, &self.path, how)
    }

    /// What is known of a layer with its list, which is read from here on; `None`: nothing.
    pub(super) fn open(&self, layer: &Digest) -> Result<Option<(Known, impl BufRead + use<>)>, Error> {
        let path = self.path.join(layer.hex());
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.dir, layer.hex(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::errno("open", &path)(errno)),
        };
        let mut file = BufReader::with_capacity(1 << 17, file);
        let mut header = Vec::new();
        (&mut file).take(MAX_HEADER).read_until(b'\n', &mut header).map_err(Error::io("read", &path))?;
        let known: Known = json::parse(&header).and_then(json::typed).map_err(Error::document(path.display()))?;
        if known.version != VERSION {
            let flaw = Flaw::Shape(format!("version {} of a record is not read", known.version));
            return Err(Error::document(path.display())(flaw));
        }
        Ok(Some((known, file)))
    }

    /// A file without a name, for a list that is not believed yet.
    pub(super) fn scratch(&self) -> Result<File, Error> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, ".", flags, Mode::from_raw_mode(0o600));
        let file = file.map_err(Error::errno("create a file without a name in", &self.path))?;
        Ok(File::from(file))
    }

    /// Keeps what was seen of a layer. Whoever wrote the list may still hold it open, so what counts is this copy.
    pub(super) fn keep(&self, layer: &Digest, report: LayerReport, disk: u64, list: &mut File) -> Result<(), Error> {
        let partial = self.path.join(PARTIAL);
        let failed = |step| Error::io(step, &partial);
        // A layer of many long names has a list that does not fit into memory.
        let mut own = self.scratch()?;
        let digest = list.rewind().and_then(|()| copy(list, &mut own)).map_err(failed("copy the list for"))?;
        own.rewind().map_err(failed("rewind the list for"))?;
        let header = Known { version: VERSION, list: digest.to_string(), disk, report };
        let shape = |error: serde_json::Error| Error::document(layer)(Flaw::Shape(error.to_string()));
        let mut header = serde_json::to_vec(&header).map_err(shape)?;
        header.push(b'\n');
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, PARTIAL, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(Error::errno("create", &partial))?);
        file.write_all(&header).map_err(failed("write"))?;
        copy(&mut own, &mut file).map_err(failed("write"))?;
        file.sync_all().map_err(failed("fsync"))?;
        let path = self.path.join(layer.hex());
        rustix::fs::renameat(&self.dir, PARTIAL, &self.dir, layer.hex())
            .map_err(Error::errno("rename the record to", path))?;
        rustix::fs::fsync(&self.dir).map_err(Error::errno("fsync", &self.path))
    }

    /// Forgets a layer: it is not proven any more.
    pub(super) fn forget(&self, layer: &Digest) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.dir, layer.hex(), AtFlags::empty()) {
            // Another layer may soon lie under its name, of which nothing is known yet.
            Ok(()) => rustix::fs::fsync(&self.dir).map_err(Error::errno("fsync", &self.path)),
            Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::errno("remove", self.path.join(layer.hex()))(errno)),
        }
    }

    /// Removes all but these. Returns the names of what went.
    pub(super) fn keep_only(&self, keep: impl Fn(&Digest) -> bool) -> Result<(), Error> {
        for name in blobs::names(&self.dir).map_err(Error::io("list", &self.path))? {
            let digest = name.to_str().and_then(|name| Digest::from_hex(name).ok());
            if digest.is_some_and(|digest| keep(&digest)) {
                continue;
            }
            let path = self.path.join(&name);
            rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty()).map_err(Error::errno("remove", path))?;
        }
        Ok(())
    }
}

impl Known {
    /// Whether a list is the one that was kept.
    pub(super) fn is(&self, list: &mut File) -> io::Result<bool> {
        list.rewind()?;
        Ok(copy(list, &mut io::sink())?.to_string() == self.list)
    }
}

/// Copies the rest, and gives the digest of what was copied.
fn copy(from: &mut File, to: &mut impl Write) -> io::Result<Digest> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 17]);
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(Digest::from_bytes(hash.finalize().into())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        let piece = buffer.get(..count).unwrap_or_default();
        hash.update(piece);
        to.write_all(piece)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn trees(dir: &tempfile::TempDir) -> Trees {
        let fd = rustix::fs::open(dir.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        Trees::new(fd, dir.path().to_owned())
    }

    fn known_of(trees: &Trees, layer: &Digest) -> Result<Option<Known>, Error> {
        Ok(trees.open(layer)?.map(|(known, _)| known))
    }

    #[test]
    fn a_record_comes_back_and_only_what_is_kept_stays() {
        let dir = tempfile::tempdir().unwrap();
        let trees = trees(&dir);
        let layer = Digest::from_bytes([7; 32]);
        assert_eq!(known_of(&trees, &layer).unwrap(), None);
        let mut list = trees.scratch().unwrap();
        assert!(list.as_fd().try_clone_to_owned().is_ok());
        list.write_all(b"/ dir\n/a file\n").unwrap();
        let report = LayerReport { entries: 2, left_out: vec!["dev/sda: device".into()], ..LayerReport::default() };
        trees.keep(&layer, report.clone(), 4096, &mut list).unwrap();
        let (known, mut rest) = trees.open(&layer).unwrap().unwrap();
        assert_eq!((known.report.clone(), known.disk), (report, 4096));
        let mut text = String::new();
        rest.read_to_string(&mut text).unwrap();
        assert_eq!(text, "/ dir\n/a file\n");
        assert!(known.is(&mut list).unwrap());
        list.write_all(b"/b file\n").unwrap();
        assert!(!known.is(&mut list).unwrap());
        trees.keep_only(|digest| *digest == layer).unwrap();
        assert!(known_of(&trees, &layer).unwrap().is_some());
        trees.keep_only(|_| false).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_record_is_an_error_and_no_proof() {
        let dir = tempfile::tempdir().unwrap();
        let trees = trees(&dir);
        let layer = Digest::from_bytes([7; 32]);
        for text in ["", "{}\n", "{\"version\":1}\n/ dir\n", "/ dir\n"] {
            std::fs::write(dir.path().join(layer.hex()), text).unwrap();
            assert!(known_of(&trees, &layer).is_err(), "{text:?}");
        }
        trees.forget(&layer).unwrap();
        assert_eq!(known_of(&trees, &layer).unwrap(), None);
        trees.forget(&layer).unwrap();
    }
}
