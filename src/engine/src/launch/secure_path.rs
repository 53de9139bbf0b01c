//! Opens and creates directories component by component, and refuses a path in which another user could rename or replace a
//! component (threat row 19).

use super::{Error, Ids};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// The kernel's limit of symbolic links in a path (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// For a missing directory of the units.
const CREATE: &str = "systemd-tmpfiles --create makes it: see tmpfiles.d/casemate.conf";
const OPEN: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens the absolute path. Directories may be owned by root and `owner` only; symbolic links are followed if root or the caller made
/// them. Missing directories are created as the caller, 0755; `true` if the last one was.
pub(super) fn open_or_create(path: &Path, owner: Ids, traversable_by_others: bool) -> Result<(OwnedFd, bool), Error> {
    // Not the manager's links: the caller changes the owner of their target, and a compromised manager must not choose it.
    let link_owner = rustix::process::geteuid().as_raw();
    resolve(path, (owner.uid, link_owner), traversable_by_others, true)
}

/// Like [`open_or_create`], for an existing directory that is only read: links of `owner` are followed too.
pub(super) fn open(path: &Path, owner: Ids, traversable_by_others: bool) -> Result<OwnedFd, Error> {
    Ok(resolve(path, (owner.uid, owner.uid), traversable_by_others, false)?.0)
}

/// `owner` of directories and `link_owner` of symbolic links are accepted besides root.
fn resolve(
    path: &Path,
    (owner, link_owner): (u32, u32),
    traversable_by_others: bool,
    create: bool,
) -> Result<(OwnedFd, bool), Error> {
    let fail = |at: &Path, step, reason: &dyn std::fmt::Display| Err(Error::at(at, step, reason));
    let mut pending: VecDeque<OsString> = names(path);
    let mut at = PathBuf::from("/");
    let mut directory = rustix::fs::open("/", OPEN | OFlags::DIRECTORY, Mode::empty())
        .map_err(|errno| Error::at(&at, "open", errno))?;
    let mut links = 0;
    let mut created = false;
    while let Some(name) = pending.pop_front() {
        let next = at.join(&name);
        created = false;
        let entry = match rustix::fs::openat(&directory, &name, OPEN, Mode::empty()) {
            Err(Errno::NOENT) if create => {
                rustix::fs::mkdirat(&directory, &name, Mode::from_raw_mode(0o755))
                    .map_err(|errno| Error::at(&next, "create the directory", errno))?;
                created = true;
                rustix::fs::openat(&directory, &name, OPEN, Mode::empty())
            }
            entry => entry,
        }
        .map_err(|errno| Error::at(&next, "open", errno))?;
        let stat = rustix::fs::fstat(&entry).map_err(|errno| Error::at(&next, "stat", errno))?;
        let link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        require_owner(&next, &stat, if link { link_owner } else { owner })?;
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
                require_not_writable_by_others(&next, &stat)?;
                if traversable_by_others && !last && stat.st_mode & 0o001 == 0 {
                    let reason = format!("mode {:04o}: service users cannot enter", stat.st_mode & 0o7777);
                    return Err(Error::at(&next, "check", reason)
                        .remedy(format!("chmod o+x {} or name another directory", next.display())));
                }
                at = next;
                directory = entry;
            }
            _ => return fail(&next, "open", &"not a directory"),
        }
    }
    Ok((directory, created))
}

/// The components of the path, `..` included: it is resolved like a name.
fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from_vec(b"..".to_vec())),
            _ => None,
        })
        .collect()
}

fn require_owner(path: &Path, stat: &Stat, owner: u32) -> Result<(), Error> {
    if stat.st_uid == 0 || stat.st_uid == owner {
        return Ok(());
    }
    let reason = format!("owned by user {}, who could replace it", stat.st_uid);
    Err(Error::at(path, "check", reason).remedy("give a path whose directories are root's or your own"))
}

fn require_not_writable_by_others(path: &Path, stat: &Stat) -> Result<(), Error> {
    if stat.st_mode & 0o022 == 0 || stat.st_mode & 0o1000 != 0 {
        return Ok(());
    }
    let reason = format!("mode {:04o}: writable by other users", stat.st_mode & 0o7777);
    Err(Error::at(path, "check", reason).remedy(format!("chmod go-w {}", path.display())))
}

/// Creates the directory `name` in `parent` if it is missing, and sets its owner, group and mode. An existing one must be owned by
/// `owner` or the caller.
pub(super) fn ensure_directory(
    parent: &OwnedFd,
    path: &Path,
    name: &OsStr,
    owner: Ids,
    mode: u32,
) -> Result<OwnedFd, Error> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::at(path, "create the directory", errno)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory =
        rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(|errno| Error::at(path, "open", errno))?;
    set_owner_and_mode(&directory, path, owner, mode)?;
    Ok(directory)
}

/// Checks the same where the caller can neither create the directory nor change its owner.
pub(super) fn verify_directory(
    parent: &OwnedFd,
    path: &Path,
    name: &OsStr,
    owner: Ids,
    mode: u32,
) -> Result<(), Error> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| Error::at(path, "stat", errno).remedy(CREATE))?;
    verify_stat(path, &stat, owner, mode)
}

fn verify_stat(path: &Path, stat: &Stat, owner: Ids, mode: u32) -> Result<(), Error> {
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if directory && stat.st_uid == owner.uid && stat.st_mode & 0o7777 == mode {
        return Ok(());
    }
    Err(Error::at(path, "check", format!("not a directory of user {} with mode {mode:04o}", owner.uid)).remedy(CREATE))
}

/// Sets owner, group and mode of an open directory. It must be owned by `owner` or the caller.
pub(super) fn set_owner_and_mode(directory: &OwnedFd, path: &Path, owner: Ids, mode: u32) -> Result<(), Error> {
    let stat = rustix::fs::fstat(directory).map_err(|errno| Error::at(path, "stat", errno))?;
    let caller = rustix::process::geteuid().as_raw();
    if caller != 0 && caller != owner.uid {
        return verify_stat(path, &stat, owner, mode);
    }
    if stat.st_uid != owner.uid && stat.st_uid != rustix::process::geteuid().as_raw() {
        let reason = format!("owned by user {}, not by user {}", stat.st_uid, owner.uid);
        return Err(Error::at(path, "check", reason).remedy("give another directory, or change its owner"));
    }
    if (stat.st_uid, stat.st_gid) != (owner.uid, owner.gid) {
        rustix::fs::fchown(directory, Some(owner.user()), Some(owner.group()))
            .map_err(|errno| Error::at(path, "change the owner", errno))?;
    }
    if stat.st_mode & 0o7777 != mode {
        rustix::fs::fchmod(directory, Mode::from_raw_mode(mode))
            .map_err(|errno| Error::at(path, "set the mode", errno))?;
    }
    Ok(())
}

/// Whether the directory has no entry.
pub(super) fn is_empty(directory: &OwnedFd, path: &Path) -> Result<bool, Error> {
    let mut entries = rustix::fs::Dir::read_from(directory).map_err(|e| Error::at(path, "list", e))?;
    entries
        .find(|entry| !matches!(entry, Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..")))
        .map_or(Ok(true), |entry| entry.map(|_| false))
        .map_err(|errno| Error::at(path, "list", errno))
}

/// Removes a file if it exists.
pub(super) fn remove_file(directory: &OwnedFd, path: &Path, name: &str) -> Result<(), Error> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::at(&path.join(name), "remove", errno)),
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
    fn missing_directories_are_created() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        assert!(open_or_create(&path, me(), false).unwrap().1);
        assert!(!open_or_create(&path, me(), false).unwrap().1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o755);
    }

    #[test]
    fn threat_19_directory_that_others_can_write_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let open = base.path().join("open");
        fs::create_dir(&open).unwrap();
        for (mode, ok) in [(0o777, false), (0o775, false), (0o1777, true), (0o755, true)] {
            fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
            let outcome = open_or_create(&open.join(format!("x{mode:o}")), me(), false);
            assert_eq!(outcome.is_ok(), ok, "{mode:o}");
        }
        let closed = base.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let error = open_or_create(&closed.join("x"), me(), true).unwrap_err().to_string();
        assert!(error.contains("service users cannot enter"), "{error}");
    }

    #[test]
    fn threat_19_component_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: changing an owner needs root");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let foreign = base.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        std::os::unix::fs::chown(&foreign, Some(4242), None).unwrap();
        let error = open_or_create(&foreign.join("x"), me(), false).unwrap_err().to_string();
        assert!(error.contains("owned by user 4242"), "{error}");
        let link = base.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(4242), None).unwrap();
        assert!(open_or_create(&link.join("tmp"), me(), false).is_err());
        // Links of the manager neither: it may be compromised, and the target's owner is changed.
        assert!(open_or_create(&foreign.join("x"), Ids { uid: 4242, gid: 4242 }, false).is_ok());
        assert!(open_or_create(&link.join("tmp"), Ids { uid: 4242, gid: 4242 }, false).is_err());
    }

    #[test]
    fn own_links_are_followed_and_loops_are_refused() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", base.path().join("link")).unwrap();
        std::os::unix::fs::symlink("loop", base.path().join("loop")).unwrap();
        open_or_create(&base.path().join("link/inner"), me(), false).unwrap();
        assert!(base.path().join("real/inner").is_dir());
        assert!(open_or_create(&base.path().join("loop/x"), me(), false).is_err());
        fs::write(base.path().join("file"), "").unwrap();
        assert!(open_or_create(&base.path().join("file/x"), me(), false).is_err());
    }
}
