//! Stores of others, `store.preload`: read-only copies of a state directory that an image of the operating system brings along.
//!
//! Enters: paths of the file. May be relied on after [`check`]: nobody but root, or as an ordinary user that user, could have changed
//! the way to one, and its parts belong to who owns them in a state directory too. Nothing here or elsewhere writes there.

use super::{Error, Identities, Ids, walk};
use casemate_wire::Digest;
use rustix::fs::{AtFlags, FileType, fstat, statat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, read_dir};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

const COPY: &str = "a preloaded store is a state directory of the same users, by number, or `cp -a` of one";

/// Checks every component of the way, and the parts of the store.
pub(super) fn check(store: &Path, identities: &Identities) -> Result<(), Error> {
    let (owner, others_pass) = match identities {
        Identities::Service { .. } => (Ids::ROOT, true),
        Identities::User(user) => (*user, false),
    };
    let top = walk::open(store, owner, others_pass)?;
    let mode = fstat(&top).map_err(|errno| Error::at(store, "stat", errno))?.st_mode & 0o7777;
    // On the way there a sticky directory is good enough; here no name may be added either.
    if mode & 0o022 != 0 {
        return Err(Error::at(store, "check", format!("mode {mode:04o} lets others write there")).remedy(COPY));
    }
    if others_pass && mode & 0o001 == 0 {
        return Err(Error::at(store, "check", format!("mode {mode:04o} keeps the service users out")).remedy(COPY));
    }
    let (manager, helper) = (identities.manager(), identities.helper());
    for (name, owner) in [("blobs", manager), ("images", manager), ("layers", helper)] {
        let part = store.join(name);
        let stat = statat(&top, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| Error::at(&part, "stat", errno).remedy(COPY))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(Error::at(&part, "check", "not a directory").remedy(COPY));
        }
        if stat.st_uid != owner.uid {
            let reason = format!("owned by user {}, not by user {}", stat.st_uid, owner.uid);
            return Err(Error::at(&part, "check", reason).remedy(COPY));
        }
        if stat.st_mode & 0o022 != 0 {
            let reason = format!("mode {:04o} lets others write there", stat.st_mode & 0o7777);
            return Err(Error::at(&part, "check", reason).remedy(COPY));
        }
    }
    Ok(())
}

/// Makes the layers of these stores layers of this state directory, by links, and takes away links to what is not lent any more. To
/// be called as the helper's user, in whose directory the links lie: so the manager cannot make one, and root has nothing to do there.
pub(super) fn link(state: &Path, stores: &[PathBuf]) -> Result<(), Error> {
    let own = state.join("layers/sha256");
    let failed = |path: &Path, step| {
        let path = path.to_owned();
        move |error: io::Error| Error::at(&path, step, error)
    };
    let mut lent = BTreeMap::new();
    for store in stores {
        for (layer, path) in layers(&store.join("layers/sha256"))? {
            lent.entry(layer.hex()).or_insert(path);
        }
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&own).map_err(failed(&own, "make the directory"))?;
    for entry in read_dir(&own).map_err(failed(&own, "list"))? {
        let path = entry.map_err(failed(&own, "list"))?.path();
        // No link: a layer that was unpacked here.
        let Ok(target) = std::fs::read_link(&path) else { continue };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if lent.get(name) != Some(&target) {
            std::fs::remove_file(&path).map_err(failed(&path, "remove the link"))?;
        }
    }
    for (name, target) in lent {
        let path = own.join(name);
        match symlink(&target, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(&path, "link")(error)),
            _ => {}
        }
    }
    Ok(())
}

/// The layers that lie in this directory themselves. A link there, as of a state directory that is lent something itself, is none.
fn layers(directory: &Path) -> Result<Vec<(Digest, PathBuf)>, Error> {
    let failed = |error: io::Error| Error::at(directory, "list", error);
    let entries = match read_dir(directory) {
        // Images without a layer that was unpacked.
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut layers = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let digest = entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok());
        if let (Some(digest), true) = (digest, entry.file_type().map_err(failed)?.is_dir()) {
            layers.push((digest, entry.path()));
        }
    }
    Ok(layers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown};

    fn store(at: &Path, layer: &str) {
        for part in ["blobs", "images", "layers/sha256"] {
            fs::create_dir_all(at.join(part)).unwrap();
        }
        fs::create_dir_all(at.join("layers/sha256").join(layer).join("fs")).unwrap();
        for path in [at.to_owned(), at.join("blobs"), at.join("images"), at.join("layers")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn me() -> Ids {
        Ids { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }

    #[test]
    fn threat_19_a_preloaded_store_that_others_could_change_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let place = base.path().join("a/store");
        store(&place, &"a".repeat(64));
        let identities = Identities::User(me());
        let refused = |words: &str| {
            let error = check(&place, &identities).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        check(&place, &identities).unwrap();
        for path in ["", "blobs", "images", "layers", ".."] {
            let path = place.join(path);
            let before = fs::metadata(&path).unwrap().permissions().mode();
            for open in [0o777, 0o775, 0o1777] {
                mode(&path, open);
                if open == 0o1777 && path.ends_with("..") {
                    check(&place, &identities).unwrap();
                } else {
                    refused("lets others write there");
                }
            }
            mode(&path, before);
        }
        check(&place, &identities).unwrap();
        fs::rename(place.join("images"), place.join("moved")).unwrap();
        refused("images: stat: ");
        symlink("moved", place.join("images")).unwrap();
        refused("not a directory");
        assert!(!base.path().join("a/none").exists());
        assert!(check(&base.path().join("a/none"), &identities).is_err() && !base.path().join("a/none").exists());
    }

    #[test]
    fn threat_19_a_preloaded_store_of_somebody_else_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: giving a directory away needs root");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = base.path().join("store");
        store(&place, &"a".repeat(64));
        let ids = |n| Ids { uid: n, gid: n };
        let range = super::super::Range { base: 70_000, count: 9 };
        let identities = Identities::Service { manager: ids(60_001), helper: ids(60_002), fetch: ids(60_003), range };
        let give = |name: &str, uid| chown(place.join(name), Some(uid), None).unwrap();
        for (name, uid) in [("blobs", 60_001), ("images", 60_001), ("layers", 60_002)] {
            let error = check(&place, &identities).unwrap_err().to_string();
            assert!(error.contains("owned by user 0") && error.contains(name), "{error}");
            give(name, uid);
        }
        check(&place, &identities).unwrap();
        // The service users own what lies in it, and not the place itself.
        for uid in [60_001, 60_002, 4242] {
            give("", uid);
            assert!(check(&place, &identities).unwrap_err().to_string().contains("who could replace it"));
        }
        give("", 0);
        // A link is followed that root made, and no other.
        let link = base.path().join("link");
        symlink(&place, &link).unwrap();
        check(&link, &identities).unwrap();
        std::os::unix::fs::lchown(&link, Some(60_001), None).unwrap();
        assert!(check(&link, &identities).is_err());
        fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(check(&place, &identities).unwrap_err().to_string().contains("keeps the service users out"));
    }

    #[test]
    fn layers_are_lent_by_links_and_own_ones_stay() {
        let base = tempfile::tempdir().unwrap();
        let (state, first, second) = (base.path().join("state"), base.path().join("first"), base.path().join("second"));
        let (a, b, c) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        store(&first, &a);
        store(&second, &a);
        fs::create_dir(second.join("layers/sha256").join(&b)).unwrap();
        fs::create_dir(second.join("layers/sha256/other")).unwrap();
        symlink("/", second.join("layers/sha256").join(&c)).unwrap();
        let own = state.join("layers/sha256");
        fs::create_dir_all(own.join(&b)).unwrap();
        let names = || {
            let mut names: Vec<_> = read_dir(&own).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        for _ in 0..2 {
            link(&state, &[first.clone(), second.clone()]).unwrap();
            assert_eq!(names(), [a.as_str(), b.as_str()]);
            assert_eq!(fs::read_link(own.join(&a)).unwrap(), first.join("layers/sha256").join(&a));
            assert!(fs::symlink_metadata(own.join(&b)).unwrap().is_dir());
        }
        link(&state, std::slice::from_ref(&second)).unwrap();
        assert_eq!(fs::read_link(own.join(&a)).unwrap(), second.join("layers/sha256").join(&a));
        link(&state, &[]).unwrap();
        assert_eq!(names(), [b.as_str()]);
        assert!(first.join("layers/sha256").join(&a).join("fs").is_dir());
    }
}
