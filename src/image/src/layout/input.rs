//! A layout directory or an archive as a table of named ranges of open files.
//!
//! [`Opened::open`] runs with the caller's rights and opens all files; they are read later, with the manager's rights.

use super::archive;
use crate::directory;
use crate::documents;
use crate::error::Error;
use casemate_wire::Digest;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::process::Resource;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// An input whose files are open and not read yet.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Directory(BTreeMap<String, Part>),
    Archive(File),
}

/// An input whose parts are read by name.
#[derive(Debug)]
pub struct Input {
    /// Its path, for messages and image names.
    pub(crate) path: PathBuf,
    parts: BTreeMap<String, Part>,
}

/// A range of an open file, or bytes in memory.
#[derive(Debug, Clone)]
pub struct Part {
    content: Content,
    offset: u64,
    /// Size in bytes.
    pub(crate) size: u64,
}

#[derive(Debug, Clone)]
enum Content {
    File(Rc<File>),
    Bytes(Rc<[u8]>),
}

/// Reads a part from its start to its end, without the file's own position, as parts share files.
#[derive(Debug)]
pub(crate) struct PartReader {
    part: Part,
    position: u64,
}

impl Opened {
    /// Opens an OCI layout directory with all its blobs, or an archive.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(Error::errno("open", path))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(Error::io("stat", path))?;
        let form = if metadata.is_dir() {
            Form::Directory(open_layout(&file.into(), path)?)
        } else if metadata.is_file() {
            Form::Archive(file)
        } else {
            return Err(Error::UnknownFormat(path.to_owned()));
        };
        Ok(Self { path: path.to_owned(), form })
    }

    /// Finds the parts. An archive is read by `unpacker` (`casemate-unpack`), which confines itself.
    pub fn index(self, unpacker: &Path) -> Result<Input, Error> {
        let parts = match self.form {
            Form::Directory(parts) => parts,
            Form::Archive(file) => {
                let members = archive::members(unpacker, &file, &self.path)?;
                let file = Rc::new(file);
                let part = |offset, size| Part { content: Content::File(Rc::clone(&file)), offset, size };
                members.into_iter().map(|member| (member.path, part(member.offset, member.size))).collect()
            }
        };
        Ok(Input { path: self.path, parts })
    }
}

impl Input {
    /// An input from parts in memory.
    pub(crate) const fn new(path: PathBuf, parts: BTreeMap<String, Part>) -> Self {
        Self { path, parts }
    }

    /// Every part, sorted by name.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&String, &Part)> {
        self.parts.iter()
    }

    /// A part, where there is one of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Part> {
        self.parts.get(name)
    }

    /// A part that a document of the input names.
    pub(crate) fn part(&self, name: &str) -> Result<&Part, Error> {
        let missing = || Error::Incomplete { input: self.path.clone(), missing: name.to_owned() };
        self.find(name).ok_or_else(missing)
    }

    /// A blob of a layout.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<&Part, Error> {
        self.part(&blob_name(&digest.hex()))
    }

    /// The content of a small part.
    pub(crate) fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, Error> {
        let part = self.part(name)?;
        let object = format!("{name} in {}", self.path.display());
        if part.size > limit as u64 {
            return Err(Error::document(object)(documents::Error::TooLong(limit)));
        }
        let mut bytes = Vec::new();
        part.reader().read_to_end(&mut bytes).map_err(Error::io("read", object))?;
        Ok(bytes)
    }
}

impl Part {
    /// A whole file.
    pub(crate) fn file(file: File, size: u64) -> Self {
        Self { content: Content::File(Rc::new(file)), offset: 0, size }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self { size: bytes.len() as u64, content: Content::Bytes(bytes.into()), offset: 0 }
    }

    /// Size in bytes.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn reader(&self) -> PartReader {
        PartReader { part: self.clone(), position: 0 }
    }
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.part.size - self.position).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        let at = self.part.offset.checked_add(self.position).ok_or(io::ErrorKind::InvalidInput)?;
        let count = match &self.part.content {
            Content::File(file) => file.read_at(buffer, at)?,
            Content::Bytes(bytes) => {
                let from = usize::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
                bytes.get(from..).unwrap_or_default().read(buffer)?
            }
        };
        self.position += count as u64;
        Ok(count)
    }
}

fn blob_name(hex: &str) -> String {
    format!("blobs/sha256/{hex}")
}

fn open_layout(dir: &OwnedFd, path: &Path) -> Result<BTreeMap<String, Part>, Error> {
    raise_descriptor_limit();
    let mut parts = BTreeMap::new();
    for name in ["oci-layout", "index.json", "manifest.json"] {
        parts.extend(open_part(dir, path, name)?.map(|part| (name.to_owned(), part)));
    }
    let blobs = match open_beneath(dir, "blobs/sha256", OFlags::DIRECTORY) {
        Ok(blobs) => blobs,
        Err(rustix::io::Errno::NOENT) => return Ok(parts),
        Err(errno) => return Err(Error::errno("open", path.join("blobs/sha256"))(errno)),
    };
    for name in directory::names(&blobs).map_err(Error::io("list", path.join("blobs/sha256")))? {
        // A document of the layout refers to blobs by digest, so other names are never read.
        let Some(digest) = name.to_str().and_then(|name| Digest::from_hex(name).ok()) else { continue };
        let name = blob_name(&digest.hex());
        parts.extend(open_part(dir, path, &name)?.map(|part| (name, part)));
    }
    Ok(parts)
}

fn open_part(dir: &OwnedFd, path: &Path, name: &str) -> Result<Option<Part>, Error> {
    let path = path.join(name);
    let file = match open_beneath(dir, name, OFlags::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(Error::errno("open", path)(errno)),
    };
    let metadata = file.metadata().map_err(Error::io("stat", &path))?;
    if !metadata.is_file() {
        return Err(Error::io("open", path)(io::Error::other("not a regular file")));
    }
    Ok(Some(Part::file(file, metadata.len())))
}

/// Opens a file of a layout without following links: a link could lead out of the layout, to a file that the caller may read and
/// the layout's author may not.
fn open_beneath(dir: &OwnedFd, name: &str, more: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | more;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::io::retry_on_intr(|| rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve))
}

/// Raises the limit of descriptors, as a layout takes one for each blob. If that fails, opening fails with EMFILE and the path.
fn raise_descriptor_limit() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = rustix::process::setrlimit(Resource::Nofile, limit);
}
