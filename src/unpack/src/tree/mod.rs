//! Entries to files below `/`, which is the layer's directory or the merged view of it and its parents. Every path is walked by
//! the kernel below the root's descriptor; the last name is never followed; metadata is set through descriptors or, for what
//! cannot be opened, by directory and name without following. Nothing here relies on that for safety alone: the process sees no other file.

mod make;
mod parents;
mod remove;

use crate::budget::Budget;
use crate::fail::{printable, refused, system};
use crate::made::Made;
use crate::path::{LayerPath, Meaning};
use crate::tar::{Entry, Kind, Reader, Source, Time};
use casemate_wire::{Failure, IdSpace, LayerLimits, LayerReport};
use parents::Directory;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Left-out things that the report names.
const NAMED: usize = 32;
/// What is kept of a directory besides its path, until its time is set at the end.
const DIRECTORY: usize = 48;

/// The layer under construction.
pub struct Tree {
    root: OwnedFd,
    ids: IdSpace,
    limits: LayerLimits,
    /// The directory of the last entry, by the path that the entry used.
    cache: Option<(Vec<u8>, Rc<Directory>)>,
    made: Made,
    /// Times that the directories get at the end; making their entries changes them until then.
    times: Vec<(Box<[u8]>, Time)>,
    budget: Budget,
    /// Entries of the archive, and directories made without one.
    entries: u64,
    /// Sizes of files with holes: what they hold is not in the archive's bytes.
    sparse: u64,
    report: LayerReport,
}

impl Tree {
    /// Builds below `root`; the process's umask must be 0.
    pub fn new(root: OwnedFd, ids: IdSpace, limits: LayerLimits) -> Self {
        let budget = Budget::new();
        Self {
            root,
            ids,
            limits,
            cache: None,
            made: Made::new(budget.clone()),
            times: Vec::new(),
            budget,
            entries: 0,
            sparse: 0,
            report: LayerReport::default(),
        }
    }

    /// Applies every entry, then the times of directories.
    pub fn fill<S: Source>(&mut self, reader: &mut Reader<S>) -> Result<(), Failure> {
        while let Some(entry) = reader.entry()? {
            self.apply(&entry, reader)?;
        }
        self.set_times()
    }

    /// Waits until the whole file system is on the disk. A layer of which something is known is not proven again, unless that is asked
    /// for: without this a power cut would leave names without their content.
    pub fn sync(&self) -> Result<(), Failure> {
        rustix::fs::syncfs(self.open_root()?).map_err(|errno| system("write to the disk", b"/", errno))
    }

    /// What was seen; `bytes` is the tar's size.
    pub fn into_report(mut self, bytes: u64) -> LayerReport {
        self.report.entries = self.entries;
        self.report.bytes = bytes;
        self.report
    }

    fn apply<S: Source>(&mut self, entry: &Entry, reader: &mut Reader<S>) -> Result<(), Failure> {
        self.count(&entry.path)?;
        let path = self.path(&entry.path)?;
        let meaning = path.meaning().map_err(|what| named(&entry.path, what))?;
        match meaning {
            Meaning::Bookkeeping => {
                self.leave_out(&entry.path, "bookkeeping of aufs");
                Ok(())
            }
            Meaning::Whiteout(directory, victim) => {
                whiteout_is_empty(entry)?;
                let directory = self.directory(directory)?;
                self.remove_lower(&directory, victim)
            }
            Meaning::Opaque(directory) => {
                whiteout_is_empty(entry)?;
                let directory = self.directory(directory)?;
                self.empty_lower(&directory)
            }
            Meaning::Root if entry.kind != Kind::Directory => Err(named(&entry.path, "the root is not a directory")),
            Meaning::Root => {
                let root = Directory { fd: self.open_root()?, path: Vec::new() };
                self.finish_directory(&root.fd, b"", entry)
            }
            Meaning::Entry(directory, name) => {
                let directory = self.directory(directory)?;
                self.make(&directory, name, entry, reader)
            }
        }
    }

    fn path(&self, raw: &[u8]) -> Result<LayerPath, Failure> {
        LayerPath::new(raw, &self.limits).map_err(|what| named(raw, what))
    }

    fn open_root(&self) -> Result<OwnedFd, Failure> {
        rustix::fs::openat(&self.root, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| system("open directory", b"/", errno))
    }

    /// One more inode, made or skipped.
    fn count(&mut self, path: &[u8]) -> Result<(), Failure> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            let what = format!("{}: more than {} entries", printable(path), self.limits.entries);
            return Err(refused("limit entries", what));
        }
        Ok(())
    }

    fn leave_out(&mut self, path: &[u8], why: &str) {
        if self.report.left_out.len() < NAMED {
            self.report.left_out.push(format!("{}: {why}", printable(path)));
        }
    }

    /// Owner and group in A; `None` where all belongs to 0 already.
    fn owner(&self, entry: &Entry) -> Result<Option<(u32, u32)>, Failure> {
        let IdSpace::Range { count } = self.ids else { return Ok(None) };
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id <= count);
        match (id(entry.uid), id(entry.gid)) {
            (Some(0), Some(0)) => Ok(None),
            (Some(uid), Some(gid)) => Ok(Some((uid, gid))),
            _ => {
                let what = format!("owner {}:{} is above the {count} ids of the range", entry.uid, entry.gid);
                Err(named(&entry.path, &what))
            }
        }
    }

    fn remember_times(&mut self, path: &[u8], time: Time) -> Result<(), Failure> {
        self.budget.take(path.len() + DIRECTORY)?;
        self.times.push((path.into(), time));
        Ok(())
    }

    /// Directories that a later entry replaced are passed over.
    fn set_times(&mut self) -> Result<(), Failure> {
        for (path, time) in std::mem::take(&mut self.times) {
            let fd = match self.open_plain(&path, OFlags::RDONLY) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                fd => fd.map_err(|errno| system("open directory", &path, errno))?,
            };
            rustix::fs::futimens(&fd, &stamps(time)).map_err(|errno| system("set time", &path, errno))?;
        }
        Ok(())
    }
}

fn whiteout_is_empty(entry: &Entry) -> Result<(), Failure> {
    // aufs made its whiteouts hard links to one file, and docker of that time kept the type.
    match entry.kind {
        Kind::File | Kind::HardLink(_) if entry.size == 0 => Ok(()),
        _ => Err(named(&entry.path, "a whiteout is an empty file")),
    }
}

/// A rule that this path breaks.
fn named(path: &[u8], what: &str) -> Failure {
    refused("check entry", format!("{}: {what}", printable(path)))
}

fn stamps(time: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: time.seconds, tv_nsec: time.nanos },
    }
}

/// Owner and time of what cannot be opened: a link or a pipe.
fn finish_by_name(directory: &Directory, name: &[u8], owner: Option<(u32, u32)>, time: Time) -> Result<(), Errno> {
    if let Some((uid, gid)) = owner {
        let uid = rustix::fs::Uid::from_raw(uid);
        let gid = rustix::fs::Gid::from_raw(gid);
        rustix::fs::chownat(&directory.fd, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    rustix::fs::utimensat(&directory.fd, name, &stamps(time), AtFlags::SYMLINK_NOFOLLOW)
}
