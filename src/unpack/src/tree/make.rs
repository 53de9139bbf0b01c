//! Making one entry, of each kind. What has its name already goes first, but for a directory under a directory.

use super::parents::Directory;
use super::{Tree, finish_by_name, named, stamps};
use crate::fail::{system, too_long};
use crate::path::{Meaning, join};
use crate::tar::{Entry, Kind, Reader, Source, Sparse};
use casemate_wire::Failure;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// PATH_MAX with its NUL: the kernel's bound of a link's text.
const MAX_LINK: usize = 4095;

impl Tree {
    /// Makes what the entry says, under this name.
    pub(super) fn make<S: Source>(
        &mut self,
        directory: &Directory,
        name: &[u8],
        entry: &Entry,
        reader: &mut Reader<S>,
    ) -> Result<(), Failure> {
        let path = join(&directory.path, name);
        match &entry.kind {
            Kind::CharDevice | Kind::BlockDevice => {
                let kind = if entry.kind == Kind::CharDevice { "character device" } else { "block device" };
                self.report.devices += 1;
                self.leave_out(&entry.path, kind);
                return Ok(());
            }
            Kind::File => self.make_file(directory, name, entry, |fd| copy(fd, reader, &entry.path))?,
            Kind::SparseFile(sparse) => {
                self.sparse = self.sparse.saturating_add(sparse.size);
                if self.sparse > self.limits.bytes {
                    let what = format!("files with holes are longer than {} bytes", self.limits.bytes);
                    return Err(too_long(what));
                }
                self.make_file(directory, name, entry, |fd| copy_sparse(fd, reader, sparse, &entry.path))?;
            }
            Kind::Directory => self.make_directory(directory, name, entry)?,
            Kind::Symlink(target) => {
                if target.len() > MAX_LINK || target.contains(&0) {
                    return Err(named(&entry.path, "the link's text is too long or holds a NUL"));
                }
                let target = target.as_slice();
                self.place(directory, name, || rustix::fs::symlinkat(target, &directory.fd, name))?;
                self.finish_name(directory, name, entry)?;
            }
            Kind::Fifo => {
                let mode = plain_mode(entry);
                let make = || rustix::fs::mknodat(&directory.fd, name, FileType::Fifo, mode, 0);
                self.place(directory, name, make)?;
                self.finish_name(directory, name, entry)?;
            }
            Kind::HardLink(target) => self.make_link(directory, name, entry, target)?,
        }
        self.made.add(&path)
    }

    /// Makes something under a name that must be free, and frees it when it is not.
    fn place<T>(
        &mut self,
        directory: &Directory,
        name: &[u8],
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, Failure> {
        let result = match make() {
            Err(Errno::EXIST) => {
                self.remove(directory, name)?;
                make()
            }
            result => result,
        };
        result.map_err(|errno| system("make entry", &join(&directory.path, name), errno))
    }

    fn make_file(
        &mut self,
        directory: &Directory,
        name: &[u8],
        entry: &Entry,
        fill: impl FnOnce(&OwnedFd) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = plain_mode(entry);
        let fd = self.place(directory, name, || rustix::fs::openat(&directory.fd, name, flags, mode))?;
        fill(&fd)?;
        if let Some((uid, gid)) = self.owner(entry)? {
            rustix::fs::fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|errno| system("set owner", &entry.path, errno))?;
        }
        self.set_xattrs(&fd, entry)?;
        rustix::fs::futimens(&fd, &stamps(entry.mtime)).map_err(|errno| system("set time", &entry.path, errno))?;
        self.note_set_id(entry);
        Ok(())
    }

    fn make_directory(&mut self, directory: &Directory, name: &[u8], entry: &Entry) -> Result<(), Failure> {
        let mode = plain_mode(entry);
        let make = || rustix::fs::mkdirat(&directory.fd, name, mode);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&directory.fd, name, flags, Mode::empty());
        let failed = |errno| system("make directory", &entry.path, errno);
        let fd = match make() {
            Err(Errno::EXIST) => match open() {
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    self.place(directory, name, make)?;
                    open().map_err(failed)?
                }
                fd => fd.map_err(failed)?,
            },
            result => result.and_then(|()| open()).map_err(failed)?,
        };
        self.finish_directory(&fd, &join(&directory.path, name), entry)
    }

    /// Owner, mode, attributes now, the time at the end. A directory of the parents takes the entry's.
    pub(super) fn finish_directory(&mut self, fd: &OwnedFd, path: &[u8], entry: &Entry) -> Result<(), Failure> {
        let (uid, gid) = self.owner(entry)?.unwrap_or((0, 0));
        rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .and_then(|()| rustix::fs::fchmod(fd, plain_mode(entry)))
            .map_err(|errno| system("set owner and mode", &entry.path, errno))?;
        self.set_xattrs(fd, entry)?;
        self.note_set_id(entry);
        self.remember_times(path, entry.mtime)
    }

    fn finish_name(&mut self, directory: &Directory, name: &[u8], entry: &Entry) -> Result<(), Failure> {
        for (key, _) in &entry.xattrs {
            self.drop_xattr(entry, key);
        }
        let owner = self.owner(entry)?;
        finish_by_name(directory, name, owner, entry.mtime)
            .map_err(|errno| system("set owner and time", &entry.path, errno))
    }

    /// Owner, mode and time of a hard link are its target's.
    fn make_link(&mut self, directory: &Directory, name: &[u8], entry: &Entry, target: &[u8]) -> Result<(), Failure> {
        let target = self.path(target)?;
        let Meaning::Entry(above, last) = target.meaning().map_err(|what| named(&entry.path, what))? else {
            return Err(named(&entry.path, "hard link to the root or to a whiteout"));
        };
        let missing = || named(&entry.path, "hard link to what is not there");
        let above = self.find(above)?.ok_or_else(missing)?;
        if (above.path.as_slice(), last) == (directory.path.as_slice(), name) {
            return Err(named(&entry.path, "hard link to itself"));
        }
        if above
            .path
            .strip_prefix(join(&directory.path, name).as_slice())
            .is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
        {
            return Err(named(&entry.path, "hard link to what it would replace"));
        }
        match rustix::fs::statat(&above.fd, last, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(named(&entry.path, "hard link to a directory"));
            }
            Ok(_) => {}
            Err(Errno::NOENT) => return Err(missing()),
            Err(errno) => return Err(system("look at link target", &entry.path, errno)),
        }
        let link = || rustix::fs::linkat(&above.fd, last, &directory.fd, name, AtFlags::empty());
        self.place(directory, name, link)
    }

    /// Keeps `user.` attributes, but for the overlay's own: under `userxattr` the kernel would obey them.
    fn set_xattrs(&mut self, fd: &OwnedFd, entry: &Entry) -> Result<(), Failure> {
        for (key, value) in &entry.xattrs {
            let kept = key.starts_with(b"user.") && !key.starts_with(b"user.overlay.") && !key.contains(&0);
            if !kept {
                self.drop_xattr(entry, key);
                continue;
            }
            match rustix::fs::fsetxattr(fd, key.as_slice(), value, XattrFlags::empty()) {
                Err(Errno::OPNOTSUPP) => self.drop_xattr(entry, key),
                result => result.map_err(|errno| system("set extended attribute", &entry.path, errno))?,
            }
        }
        Ok(())
    }

    fn drop_xattr(&mut self, entry: &Entry, key: &[u8]) {
        self.report.xattrs += 1;
        self.leave_out(&entry.path, &format!("extended attribute {}", crate::fail::printable(key)));
    }

    fn note_set_id(&mut self, entry: &Entry) {
        if entry.mode & 0o6000 != 0 {
            self.report.set_id += 1;
            self.leave_out(&entry.path, "set-id bits");
        }
    }
}

/// Permission bits and sticky; set-id never reaches the disk.
fn plain_mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.mode & 0o1777)
}

/// Writes the entry's content from the present position on.
fn copy<S: Source>(fd: &OwnedFd, reader: &mut Reader<S>, path: &[u8]) -> Result<(), Failure> {
    loop {
        let bytes = reader.content()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let count = rustix::io::write(fd, bytes).map_err(|errno| system("write file", path, errno))?;
        reader.used(count);
    }
}

/// Writes each extent where it belongs; what lies between stays a hole.
fn copy_sparse<S: Source>(fd: &OwnedFd, reader: &mut Reader<S>, sparse: &Sparse, path: &[u8]) -> Result<(), Failure> {
    for (offset, length) in &sparse.extents {
        let mut at = *offset;
        let end = offset + length;
        while at < end {
            let bytes = reader.content()?;
            let room = usize::try_from(end - at).unwrap_or(usize::MAX).min(bytes.len());
            let piece = bytes.get(..room).unwrap_or_default();
            let count = rustix::io::pwrite(fd, piece, at).map_err(|errno| system("write file", path, errno))?;
            if count == 0 {
                return Err(system("write file", path, Errno::IO));
            }
            reader.used(count);
            at += count as u64;
        }
    }
    rustix::fs::ftruncate(fd, sparse.size).map_err(|errno| system("write file", path, errno))
}
