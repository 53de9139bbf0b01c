//! Read-only image stores (`store.preload`): copies of a state directory, as an image of the operating system contains one.
//!
//! A store that passes [`check`] can only be changed by root, or as an ordinary user by that user; its parts have the owners that
//! they have in a state directory. casemate never writes there.

use super::{Error, Identities, Ids, secure_path};
use casemate_wire::Digest;
use rustix::fs::{AtFlags, FileType, fstat, statat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, read_dir};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

const COPY: &str = "a read-only store is a state directory of the same users, by number, or `cp -a` of one";

/// Checks every component of the path, and the parts of the store.
pub(super) fn check(store: &Path, identities: &Identities) -> Result<(), Error> {
    let (owner, traversable_by_others) = match identities {
        Identities::Service { .. } => (Ids::ROOT, true),
        Identities::User(user) => (*user, false),
    };
    let top = secure_path::open(store, owner, traversable_by_others)?;
    let mode = fstat(&top).map_err(|errno| Error::at(store, "stat", errno))?.st_mode & 0o7777;
    // A sticky directory is accepted in the path, not here: others must not add names either.
    if mode & 0o022 != 0 {
        return Err(Error::at(store, "check", format!("mode {mode:04o}: writable by other users")).remedy(COPY));
    }
    if traversable_by_others && mode & 0o001 == 0 {
        return Err(Error::at(store, "check", format!("mode {mode:04o}: service users cannot enter")).remedy(COPY));
    }
    let manager = identities.manager();
    let helper = identities.helper();
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
            let reason = format!("mode {:04o}: writable by other users", stat.st_mode & 0o7777);
            return Err(Error::at(&part, "check", reason).remedy(COPY));
        }
    }
    Ok(())
}

/// Links the layers of these stores into the state directory, and removes links to stores that are not used any more. Call it as the
/// helper's user, who owns the directory of the links: the manager cannot make one, and root writes nothing there.
pub(super) fn link_layers(state: &Path, stores: &[PathBuf]) -> Result<(), Error> {
    let own = state.join("layers/sha256");
    let failed = |path: &Path, step| {
        let path = path.to_owned();
        move |error: io::Error| Error::at(&path, step, error)
    };
    let mut targets = BTreeMap::new();
    for store in stores {
        for (layer, path) in layers(&store.join("layers/sha256"))? {
            targets.entry(layer.hex()).or_insert(path);
        }
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&own).map_err(failed(&own, "make the directory"))?;
    for entry in read_dir(&own).map_err(failed(&own, "list"))? {
        let path = entry.map_err(failed(&own, "list"))?.path();
        // Not a link: a layer that was unpacked here.
        let Ok(target) = std::fs::read_link(&path) else { continue };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if targets.get(name) != Some(&target) {
            std::fs::remove_file(&path).map_err(failed(&path, "remove the link"))?;
        }
    }
    for (name, target) in targets {
        let path = own.join(name);
        match symlink(&target, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(&path, "link")(error)),
            _ => {}
        }
    }
    Ok(())
}

/// The layers that are directories here. Links, as in a state directory that uses a read-only store itself, are left out.
fn layers(directory: &Path) -> Result<Vec<(Digest, PathBuf)>, Error> {
    let failed = |error: io::Error| Error::at(directory, "list", error);
    let entries = match read_dir(directory) {
        // No layer was unpacked in this store.
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
    fn threat_19_read_only_store_that_others_could_change_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let path_of_store = base.path().join("a/store");
        store(&path_of_store, &"a".repeat(64));
        let identities = Identities::User(me());
        let refused = |text: &str| {
            let error = check(&path_of_store, &identities).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        check(&path_of_store, &identities).unwrap();
        for path in ["", "blobs", "images", "layers", ".."] {
            let path = path_of_store.join(path);
            let before = fs::metadata(&path).unwrap().permissions().mode();
            for open in [0o777, 0o775, 0o1777] {
                mode(&path, open);
                if open == 0o1777 && path.ends_with("..") {
                    check(&path_of_store, &identities).unwrap();
                } else {
                    refused("writable by other users");
                }
            }
            mode(&path, before);
        }
        check(&path_of_store, &identities).unwrap();
        fs::rename(path_of_store.join("images"), path_of_store.join("moved")).unwrap();
        refused("images: stat: ");
        symlink("moved", path_of_store.join("images")).unwrap();
        refused("not a directory");
        assert!(!base.path().join("a/none").exists());
        assert!(check(&base.path().join("a/none"), &identities).is_err() && !base.path().join("a/none").exists());
    }

    #[test]
    fn threat_19_read_only_store_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: giving a directory away needs root");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path_of_store = base.path().join("store");
        store(&path_of_store, &"a".repeat(64));
        let ids = |n| Ids { uid: n, gid: n };
        let range = super::super::Range { base: 70_000, count: 9 };
        let identities = Identities::Service { manager: ids(60_001), helper: ids(60_002), fetch: ids(60_003), range };
        let give = |name: &str, uid| chown(path_of_store.join(name), Some(uid), None).unwrap();
        for (name, uid) in [("blobs", 60_001), ("images", 60_001), ("layers", 60_002)] {
            let error = check(&path_of_store, &identities).unwrap_err().to_string();
            assert!(error.contains("owned by user 0") && error.contains(name), "{error}");
            give(name, uid);
        }
        check(&path_of_store, &identities).unwrap();
        // The service users own its parts, not the store's directory.
        for uid in [60_001, 60_002, 4242] {
            give("", uid);
            assert!(check(&path_of_store, &identities).unwrap_err().to_string().contains("who could replace it"));
        }
        give("", 0);
        // Only a link of root's is followed.
        let link = base.path().join("link");
        symlink(&path_of_store, &link).unwrap();
        check(&link, &identities).unwrap();
        std::os::unix::fs::lchown(&link, Some(60_001), None).unwrap();
        assert!(check(&link, &identities).is_err());
        fs::set_permissions(&path_of_store, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(check(&path_of_store, &identities).unwrap_err().to_string().contains("service users cannot enter"));
    }

    #[test]
    fn layers_are_linked_and_own_layers_stay() {
        let base = tempfile::tempdir().unwrap();
        let state = base.path().join("state");
        let first = base.path().join("first");
        let second = base.path().join("second");
        let a = "a".repeat(64);
        let b = "b".repeat(64);
        let c = "c".repeat(64);
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
            link_layers(&state, &[first.clone(), second.clone()]).unwrap();
            assert_eq!(names(), [a.as_str(), b.as_str()]);
            assert_eq!(fs::read_link(own.join(&a)).unwrap(), first.join("layers/sha256").join(&a));
            assert!(fs::symlink_metadata(own.join(&b)).unwrap().is_dir());
        }
        link_layers(&state, std::slice::from_ref(&second)).unwrap();
        assert_eq!(fs::read_link(own.join(&a)).unwrap(), second.join("layers/sha256").join(&a));
        link_layers(&state, &[]).unwrap();
        assert_eq!(names(), [b.as_str()]);
        assert!(first.join("layers/sha256").join(&a).join("fs").is_dir());
    }
}
