//! A source directory as a sorted list of layer entries.

use crate::directory;
use crate::error::Error;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The deepest directory; bounds the recursion.
const MAX_DEPTH: usize = 256;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An entry of the layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative to the root.
    pub(super) path: PathBuf,
    /// Permission and sticky bits, without set-id bits.
    pub(super) mode: u32,
    /// The type of the entry.
    pub(super) kind: Kind,
}

/// The type of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A directory.
    Directory,
    /// A regular file and its size in bytes.
    File(u64),
    /// A symbolic link and its target.
    Symlink(PathBuf),
    /// A hard link to an earlier entry.
    HardLink(PathBuf),
}

/// A source directory, open.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    path: PathBuf,
    /// Parents before children, names in byte order.
    pub(super) entries: Vec<Entry>,
    /// Entries that had set-user-id or set-group-id.
    pub(super) set_id: Vec<PathBuf>,
}

impl Tree {
    /// Lists everything below a directory. Needs only the right to read it.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(Error::errno("open", path))?;
        let tree = Self { root, path: path.to_owned(), entries: Vec::new(), set_id: Vec::new() };
        let mut scan = Scan { tree, links: BTreeMap::new() };
        let root = scan.open_directory(Path::new("."))?;
        scan.directory(&root, Path::new(""), 0)?;
        Ok(scan.tree)
    }

    /// Opens one of its files, without following links.
    pub(super) fn open(&self, path: &Path) -> Result<File, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = rustix::io::retry_on_intr(|| rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve));
        Ok(File::from(file.map_err(Error::errno("open", self.path.join(path)))?))
    }

    /// The path of an entry's source, for messages.
    pub(super) fn source(&self, path: &Path) -> PathBuf {
        self.path.join(path)
    }
}

struct Scan {
    tree: Tree,
    /// The first name of files with several, by device and inode.
    links: BTreeMap<(u64, u64), PathBuf>,
}

impl Scan {
    fn open_directory(&self, path: &Path) -> Result<OwnedFd, Error> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        rustix::io::retry_on_intr(|| rustix::fs::openat2(&self.tree.root, path, DIRECTORY, Mode::empty(), resolve))
            .map_err(Error::errno("open", self.tree.source(path)))
    }

    fn directory(&mut self, dir: &OwnedFd, below: &Path, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            let reason = format!("it is more than {MAX_DEPTH} directories deep");
            return Err(Error::Pack { path: self.tree.source(below), reason });
        }
        let mut names = directory::names(dir).map_err(Error::io("list", self.tree.source(below)))?;
        names.sort();
        for name in names {
            let path = below.join(&name);
            let stat = rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(Error::errno("stat", self.tree.source(&path)))?;
            let kind = self.kind(dir, &name, &path, &stat)?;
            let directory = kind == Kind::Directory;
            if !directory && !matches!(kind, Kind::Symlink(_)) && stat.st_mode & 0o6000 != 0 {
                self.tree.set_id.push(path.clone());
            }
            self.tree.entries.push(Entry { path: path.clone(), mode: stat.st_mode & 0o1777, kind });
            if directory {
                let child = self.open_directory(&path)?;
                self.directory(&child, &path, depth + 1)?;
            }
        }
        Ok(())
    }

    fn kind(&mut self, dir: &OwnedFd, name: &OsStr, path: &Path, stat: &Stat) -> Result<Kind, Error> {
        let refuse = |reason: &str| Err(Error::Pack { path: self.tree.source(path), reason: reason.to_owned() });
        if name.as_bytes().starts_with(b".wh.") {
            return refuse("a name that starts with `.wh.` is a whiteout in a layer");
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(Kind::Directory),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new())
                    .map_err(Error::errno("read the link", self.tree.source(path)))?;
                Ok(Kind::Symlink(std::ffi::OsString::from_vec(target.into_bytes()).into()))
            }
            FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                if stat.st_nlink < 2 {
                    return Ok(Kind::File(size));
                }
                let first = self.links.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| path.to_owned());
                Ok(if first == path { Kind::File(size) } else { Kind::HardLink(first.clone()) })
            }
            FileType::Socket => refuse("a socket cannot be packed; remove it or pack another directory"),
            FileType::Fifo => refuse("a FIFO cannot be packed; remove it or pack another directory"),
            _ => refuse("a device node cannot be packed; grant devices in the file (`devices`)"),
        }
    }
}
