//! Revisions: the files that were applied, as `revisions/<sha256>.toml`, and the link `current` to the last one. Both are replaced by
//! rename, so a power cut leaves the old or the new one.
//!
//! `order` lists the kept revisions, the last applied first; the file says how many are kept for going back. A dropped revision is renamed
//! to `<sha256>.dropped` until its images are collected: a kept one would pin them for ever.
use casemate_wire::Digest;
use sha2::{Digest as _, Sha256};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

const HISTORY: &str = "order";
const DROPPED: &str = "dropped";

/// The digest of a file's text: its revision.
pub fn revision(text: &str) -> Digest {
    Digest::from_bytes(Sha256::digest(text.as_bytes()).into())
}

/// The path of a kept revision.
pub fn find(state: &Path, revision: &Digest) -> Option<PathBuf> {
    let path = state.join("revisions").join(format!("{}.toml", revision.hex()));
    path.is_file().then_some(path)
}

/// The text of the current revision, if a file was applied.
pub fn current(state: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(state.join("revisions/current")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    }
}

/// Stores the text as the current revision, and keeps this many of the last applied, this one included.
pub fn apply(state: &Path, text: &str, keep: usize) -> io::Result<()> {
    let directory = state.join("revisions");
    let name = format!("{}.toml", revision(text).hex());
    if !directory.join(&name).is_file() {
        write(&directory, &name, text)?;
    }
    let current = directory.join("current");
    let before = fs::read_link(&current).unwrap_or_default();
    let kept = kept_names(&directory, &name, &before.to_string_lossy(), keep)?;
    if before != Path::new(&name) {
        write(&directory, HISTORY, &(kept.join("\n") + "\n"))?;
        let link = directory.join(".current");
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(&name, &link)?;
        fs::rename(&link, &current)?;
        fs::File::open(&directory)?.sync_all()?;
    }
    drop_others(&directory, &kept)
}

/// Drops the revisions that are not kept, those too that an apply has left which was killed here.
fn drop_others(directory: &Path, kept: &[String]) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        let stays = |name: &str| name == "current" || name == HISTORY || kept.iter().any(|kept| kept == name);
        match path.extension().and_then(OsStr::to_str) {
            _ if name.to_str().is_some_and(stays) => {}
            Some(DROPPED) => {}
            Some("toml") if !name.as_encoded_bytes().starts_with(b".") => {
                fs::rename(&path, path.with_extension(DROPPED))?;
            }
            _ => fs::remove_file(&path)?,
        }
    }
    Ok(())
}

/// A dropped revision.
#[derive(Debug)]
pub struct Dropped {
    path: PathBuf,
    /// Its text.
    pub text: String,
    /// When it was applied for the first time, in seconds since 1970.
    pub since: u64,
}

/// The dropped revisions whose images are not collected yet.
pub fn dropped(state: &Path) -> io::Result<Vec<Dropped>> {
    let mut dropped = Vec::new();
    for entry in fs::read_dir(state.join("revisions"))? {
        let path = entry?.path();
        if path.extension().and_then(OsStr::to_str) == Some(DROPPED) {
            let since = fs::metadata(&path)?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            dropped.push(Dropped { text: fs::read_to_string(&path)?, since, path });
        }
    }
    Ok(dropped)
}

impl Dropped {
    /// Removes the revision after its images are collected.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(self.path)
    }
}

/// The names of the revisions to keep, the last applied first.
fn kept_names(directory: &Path, name: &str, before: &str, keep: usize) -> io::Result<Vec<String>> {
    let history = match fs::read_to_string(directory.join(HISTORY)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let mut names: Vec<String> = Vec::new();
    for name in [name, before].into_iter().chain(history.lines()) {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names.truncate(keep.max(1));
    Ok(names)
}

/// Replaces a file by rename.
fn write(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let temporary = directory.join(format!(".{name}"));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_applied_revision_is_current_and_the_previous_is_kept() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("revisions")).unwrap();
        assert_eq!(current(base.path()).unwrap(), None);
        for text in ["a = 1", "a = 2", "a = 1"] {
            apply(base.path(), text, 2).unwrap();
            assert_eq!(fs::read_to_string(base.path().join("revisions/current")).unwrap(), text);
            assert_eq!(current(base.path()).unwrap().as_deref(), Some(text));
            assert!(find(base.path(), &revision(text)).is_some());
        }
        assert_eq!(fs::read_dir(base.path().join("revisions")).unwrap().count(), 4);
        assert_eq!(find(base.path(), &revision("other")), None);
        // The same again changes nothing; a third drops the oldest.
        apply(base.path(), "a = 1", 2).unwrap();
        assert!(find(base.path(), &revision("a = 2")).is_some());
        apply(base.path(), "a = 3", 2).unwrap();
        let is_kept = ["a = 1", "a = 2", "a = 3"].map(|text| find(base.path(), &revision(text)).is_some());
        assert_eq!(is_kept, [true, false, true]);
        assert_eq!(fs::read_dir(base.path().join("revisions")).unwrap().count(), 5);
        // It is listed until it is removed.
        let mut left = dropped(base.path()).unwrap();
        assert_eq!((left.len(), left[0].text.as_str()), (1, "a = 2"));
        left.pop().unwrap().remove().unwrap();
        assert!(dropped(base.path()).unwrap().is_empty());
        assert_eq!(fs::read_dir(base.path().join("revisions")).unwrap().count(), 4);
    }

    #[test]
    fn revision_that_a_killed_apply_left_is_dropped_by_the_same_file() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("revisions");
        fs::create_dir(&directory).unwrap();
        apply(base.path(), "a = 1", 1).unwrap();
        // The state between the new link `current` and the new name of the former revision.
        let name = format!("{}.toml", revision("a = 2").hex());
        write(&directory, &name, "a = 2").unwrap();
        apply(base.path(), "a = 1", 1).unwrap();
        assert_eq!(find(base.path(), &revision("a = 2")), None);
        let dropped: Vec<String> = dropped(base.path()).unwrap().into_iter().map(|dropped| dropped.text).collect();
        assert_eq!(dropped, ["a = 2"]);
    }

    #[test]
    fn store_keep_limits_the_kept_revisions() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("revisions")).unwrap();
        let is_kept = || {
            let texts = ["a = 0", "a = 1", "a = 2", "a = 3"];
            texts.map(|text| find(base.path(), &revision(text)).is_some())
        };
        for (n, kept) in
            [[true, false, false, false], [true, true, false, false], [true, true, true, false]].iter().enumerate()
        {
            apply(base.path(), &format!("a = {n}"), 3).unwrap();
            assert_eq!(is_kept(), *kept);
        }
        apply(base.path(), "a = 3", 3).unwrap();
        assert_eq!(is_kept(), [false, true, true, true]);
        // Back to an earlier one, and then a file that keeps fewer.
        apply(base.path(), "a = 1", 3).unwrap();
        assert_eq!(is_kept(), [false, true, true, true]);
        apply(base.path(), "a = 0", 1).unwrap();
        assert_eq!(is_kept(), [true, false, false, false]);
    }
}
