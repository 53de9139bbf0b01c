//! The way to a directory, component by component: nobody but root and the expected user may be able to move what lies on it
//! (threat row 19). What is missing is made.

use super::{Error, Ids};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// As the kernel counts (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Of a directory that the units rely on.
const MAKE: &str = "systemd-tmpfiles --create makes it, as tmpfiles.d/casemate.conf says";
const OPEN: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens the absolute path, following symbolic links only where root or the caller made them, in directories where nobody but
/// `owner` could have. Missing directories are made as the caller, 0755; `true` when the last one was.
pub(super) fn open_or_make(path: &Path, owner: Ids, others_pass: bool) -> Result<(OwnedFd, bool), Error> {
    // What a link leads to may be given away at the end, so a manager that was taken over must not say where that is.
    let may_link = rustix::process::geteuid().as_raw();
    follow(path, (owner.uid, may_link), others_pass, true)
}

/// The same of what has to be there, and is to be read and not given away.
pub(super) fn open(path: &Path, owner: Ids, others_pass: bool) -> Result<OwnedFd, Error> {
    Ok(follow(path, (owner.uid, owner.uid), others_pass, false)?.0)
}

/// `owner` and `may_link` are users besides root: who may have made directories, and who links.
fn follow(path: &Path, (owner, may_link): (u32, u32), others_pass: bool, make: bool) -> Result<(OwnedFd, bool), Error> {
    let fail = |at: &Path, step, reason: &dyn std::fmt::Display| Err(Error::at(at, step, reason));
    let mut pending: VecDeque<OsString> = names(path);
    let mut at = PathBuf::from("/");
    let mut directory = rustix::fs::open("/", OPEN | OFlags::DIRECTORY, Mode::empty())
        .map_err(|errno| Error::at(&at, "open", errno))?;
    let (mut links, mut made) = (0, false);
    while let Some(name) = pending.pop_front() {
        let next = at.join(&name);
        made = false;
        let entry = match rustix::fs::openat(&directory, &name, OPEN, Mode::empty()) {
            Err(Errno::NOENT) if make => {
                rustix::fs::mkdirat(&directory, &name, Mode::from_raw_mode(0o755))
                    .map_err(|errno| Error::at(&next, "make the directory", errno))?;
                made = true;
                rustix::fs::openat(&directory, &name, OPEN, Mode::empty())
            }
            entry => entry,
        }
        .map_err(|errno| Error::at(&next, "open", errno))?;
        let stat = rustix::fs::fstat(&entry).map_err(|errno| Error::at(&next, "stat", errno))?;
        let link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        trusted_owner(&next, &stat, if link { may_link } else { owner })?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink if links < MAX_LINKS => {
                links += 1;
                let target = rustix::fs::readlinkat(&entry, "", Vec::new())
                    .map_err(|errno| Error::at(&next, "read the link", errno))?;
                let target = PathBuf::from(OsStr::from_bytes(target.as_bytes()));
                if target.is_absolute() {
                    at = PathBuf::from("/");
                    directory = rustix::fs::open("/", OPEN | OFlags::DIRECTORY, Mode::empty())
                        .map_err(|errno| Error::at(&at, "open", errno))?;
                }
                for name in names(&target).into_iter().rev() {
                    pending.push_front(name);
                }
            }
            FileType::Directory => {
                let last = pending.is_empty();
                closed_to_others(&next, &stat)?;
                if others_pass && !last && stat.st_mode & 0o001 == 0 {
                    let reason = format!("mode {:04o} keeps the service users out", stat.st_mode & 0o7777);
                    return Err(Error::at(&next, "check", reason)
                        .remedy(format!("chmod o+x {} or name another directory", next.display())));
                }
                (at, directory) = (next, entry);
            }
            _ => return fail(&next, "open", &"not a directory"),
        }
    }
    Ok((directory, made))
}

/// The path's names; `..` stays one, as the kernel resolves it too.
fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from_vec(b"..".to_vec())),
            _ => None,
        })
        .collect()
}

fn trusted_owner(path: &Path, stat: &Stat, owner: u32) -> Result<(), Error> {
    if stat.st_uid == 0 || stat.st_uid == owner {
        return Ok(());
    }
    let reason = format!("owned by user {}, who could replace it", stat.st_uid);
    Err(Error::at(path, "check", reason).remedy("name a directory below ones of root or your own"))
}

fn closed_to_others(path: &Path, stat: &Stat) -> Result<(), Error> {
    if stat.st_mode & 0o022 == 0 || stat.st_mode & 0o1000 != 0 {
        return Ok(());
    }
    let reason = format!("mode {:04o} lets others write there", stat.st_mode & 0o7777);
    Err(Error::at(path, "check", reason).remedy(format!("chmod go-w {}", path.display())))
}

/// Makes sure that `name` in `parent` is a directory of this owner, group and mode. One that root has made and not yet given
/// away is given away; one of anybody else is refused.
pub(super) fn own_directory(
    parent: &OwnedFd,
    shown: &Path,
    name: &OsStr,
    owner: Ids,
    mode: u32,
) -> Result<OwnedFd, Error> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::at(shown, "make the directory", errno)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory =
        rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(|errno| Error::at(shown, "open", errno))?;
    give(&directory, shown, owner, mode)?;
    Ok(directory)
}

/// Makes sure of the same where the caller can neither make the directory nor give it away.
pub(super) fn expect_directory(
    parent: &OwnedFd,
    shown: &Path,
    name: &OsStr,
    owner: Ids,
    mode: u32,
) -> Result<(), Error> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| Error::at(shown, "stat", errno).remedy(MAKE))?;
    expect(shown, &stat, owner, mode)
}

fn expect(shown: &Path, stat: &Stat, owner: Ids, mode: u32) -> Result<(), Error> {
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if directory && stat.st_uid == owner.uid && stat.st_mode & 0o7777 == mode {
        return Ok(());
    }
    Err(Error::at(shown, "check", format!("not a directory of user {} with mode {mode:04o}", owner.uid)).remedy(MAKE))
}

/// Sets owner, group and mode of an open directory that is the owner's already, or still the caller's.
pub(super) fn give(directory: &OwnedFd, shown: &Path, owner: Ids, mode: u32) -> Result<(), Error> {
    let stat = rustix::fs::fstat(directory).map_err(|errno| Error::at(shown, "stat", errno))?;
    let caller = rustix::process::geteuid().as_raw();
    if caller != 0 && caller != owner.uid {
        return expect(shown, &stat, owner, mode);
    }
    if stat.st_uid != owner.uid && stat.st_uid != rustix::process::geteuid().as_raw() {
        let reason = format!("owned by user {}, not by user {}", stat.st_uid, owner.uid);
        return Err(Error::at(shown, "check", reason).remedy("name another directory, or give this one away"));
    }
    if (stat.st_uid, stat.st_gid) != (owner.uid, owner.gid) {
        rustix::fs::fchown(directory, Some(owner.user()), Some(owner.group()))
            .map_err(|errno| Error::at(shown, "give away", errno))?;
    }
    if stat.st_mode & 0o7777 != mode {
        rustix::fs::fchmod(directory, Mode::from_raw_mode(mode))
            .map_err(|errno| Error::at(shown, "set the mode", errno))?;
    }
    Ok(())
}

/// Whether the directory has no entry.
pub(super) fn is_empty(directory: &OwnedFd, shown: &Path) -> Result<bool, Error> {
    let mut entries = rustix::fs::Dir::read_from(directory).map_err(|e| Error::at(shown, "list", e))?;
    entries
        .find(|entry| !matches!(entry, Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..")))
        .map_or(Ok(true), |entry| entry.map(|_| false))
        .map_err(|errno| Error::at(shown, "list", errno))
}

/// Removes a file if it is there.
pub(super) fn remove_file(directory: &OwnedFd, shown: &Path, name: &str) -> Result<(), Error> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::at(&shown.join(name), "remove", errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn me() -> Ids {
        Ids { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }

    #[test]
    fn what_is_missing_is_made() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        assert!(open_or_make(&path, me(), false).unwrap().1);
        assert!(!open_or_make(&path, me(), false).unwrap().1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o755);
    }

    #[test]
    fn threat_19_a_directory_that_others_can_write_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let open = base.path().join("open");
        fs::create_dir(&open).unwrap();
        for (mode, ok) in [(0o777, false), (0o775, false), (0o1777, true), (0o755, true)] {
            fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
            let outcome = open_or_make(&open.join(format!("x{mode:o}")), me(), false);
            assert_eq!(outcome.is_ok(), ok, "{mode:o}");
        }
        let closed = base.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let error = open_or_make(&closed.join("x"), me(), true).unwrap_err().to_string();
        assert!(error.contains("keeps the service users out"), "{error}");
    }

    #[test]
    fn threat_19_a_component_of_somebody_else_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: giving a directory away needs root");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let foreign = base.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        std::os::unix::fs::chown(&foreign, Some(4242), None).unwrap();
        let error = open_or_make(&foreign.join("x"), me(), false).unwrap_err().to_string();
        assert!(error.contains("owned by user 4242"), "{error}");
        let link = base.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(4242), None).unwrap();
        assert!(open_or_make(&link.join("tmp"), me(), false).is_err());
        // Not even of the manager, which may have been taken over: the end of the way is given to it.
        assert!(open_or_make(&foreign.join("x"), Ids { uid: 4242, gid: 4242 }, false).is_ok());
        assert!(open_or_make(&link.join("tmp"), Ids { uid: 4242, gid: 4242 }, false).is_err());
    }

    #[test]
    fn links_of_our_own_lead_on_and_loops_end() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", base.path().join("link")).unwrap();
        std::os::unix::fs::symlink("loop", base.path().join("loop")).unwrap();
        open_or_make(&base.path().join("link/inner"), me(), false).unwrap();
        assert!(base.path().join("real/inner").is_dir());
        assert!(open_or_make(&base.path().join("loop/x"), me(), false).is_err());
        fs::write(base.path().join("file"), "").unwrap();
        assert!(open_or_make(&base.path().join("file/x"), me(), false).is_err());
    }
}
