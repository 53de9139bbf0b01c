//! The files that were applied: `revisions/<sha256>.toml`, and `current`, a link to the one that was applied last. Both appear
//! by rename, so a power cut leaves the old one or the new one. `order` has their names, the last applied first. As many as the file
//! says are kept, as the way back; all others are dropped, as each would hold its images in the store for ever: `<sha256>.dropped` is
//! one until what only it named has been collected.

use casemate_wire::Digest;
use sha2::{Digest as _, Sha256};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

const ORDER: &str = "order";
const DROPPED: &str = "dropped";

/// The digest of a file's text: its revision.
pub fn revision(text: &str) -> Digest {
    Digest::from_bytes(Sha256::digest(text.as_bytes()).into())
}

/// Where a revision lies, if it was applied once.
pub fn find(state: &Path, revision: &Digest) -> Option<PathBuf> {
    let path = state.join("revisions").join(format!("{}.toml", revision.hex()));
    path.is_file().then_some(path)
}

/// The text that was applied last, if one was.
pub fn current(state: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(state.join("revisions/current")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    }
}

/// Keeps the text and makes it the current revision; so many of the last applied stay, this one included.
pub fn apply(state: &Path, text: &str, keep: usize) -> io::Result<()> {
    let directory = state.join("revisions");
    let name = format!("{}.toml", revision(text).hex());
    if !directory.join(&name).is_file() {
        write(&directory, &name, text)?;
    }
    let current = directory.join("current");
    let before = fs::read_link(&current).unwrap_or_default();
    if before == Path::new(&name) {
        return Ok(());
    }
    let kept = order(&directory, &name, &before.to_string_lossy(), keep)?;
    write(&directory, ORDER, &(kept.join("\n") + "\n"))?;
    let link = directory.join(".current");
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(&name, &link)?;
    fs::rename(&link, &current)?;
    fs::File::open(&directory)?.sync_all()?;
    for entry in fs::read_dir(&directory)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let stays = |name: &str| name == "current" || name == ORDER || kept.iter().any(|kept| kept == name);
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

/// A revision that is not kept any more.
#[derive(Debug)]
pub struct Dropped {
    path: PathBuf,
    /// Its text.
    pub text: String,
    /// Seconds since 1970 when it was kept for the first time.
    pub since: u64,
}

/// Those that have not been forgotten.
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
    /// Nothing is to be collected for it any more.
    pub fn forget(self) -> io::Result<()> {
        fs::remove_file(self.path)
    }
}

/// The names of the revisions that stay, the last applied first.
fn order(directory: &Path, name: &str, before: &str, keep: usize) -> io::Result<Vec<String>> {
    let known = match fs::read_to_string(directory.join(ORDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let mut names: Vec<String> = Vec::new();
    for name in [name, before].into_iter().chain(known.lines()) {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names.truncate(keep.max(1));
    Ok(names)
}

/// Whole or not at all.
fn write(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let work = directory.join(format!(".{name}"));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&work)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&work, directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_applied_is_current_and_the_one_before_is_kept() {
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
        // Again, which changes nothing; then a third, which lets the older one of the two go.
        apply(base.path(), "a = 1", 2).unwrap();
        assert!(find(base.path(), &revision("a = 2")).is_some());
        apply(base.path(), "a = 3", 2).unwrap();
        let there = ["a = 1", "a = 2", "a = 3"].map(|text| find(base.path(), &revision(text)).is_some());
        assert_eq!(there, [true, false, true]);
        assert_eq!(fs::read_dir(base.path().join("revisions")).unwrap().count(), 5);
        // It is known until it is forgotten.
        let mut left = dropped(base.path()).unwrap();
        assert_eq!((left.len(), left[0].text.as_str()), (1, "a = 2"));
        left.pop().unwrap().forget().unwrap();
        assert!(dropped(base.path()).unwrap().is_empty());
        assert_eq!(fs::read_dir(base.path().join("revisions")).unwrap().count(), 4);
    }

    #[test]
    fn as_many_are_kept_as_the_file_says() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("revisions")).unwrap();
        let there = || {
            let texts = ["a = 0", "a = 1", "a = 2", "a = 3"];
            texts.map(|text| find(base.path(), &revision(text)).is_some())
        };
        for (n, kept) in
            [[true, false, false, false], [true, true, false, false], [true, true, true, false]].iter().enumerate()
        {
            apply(base.path(), &format!("a = {n}"), 3).unwrap();
            assert_eq!(there(), *kept);
        }
        apply(base.path(), "a = 3", 3).unwrap();
        assert_eq!(there(), [false, true, true, true]);
        // The way back, and then a file that keeps less.
        apply(base.path(), "a = 1", 3).unwrap();
        assert_eq!(there(), [false, true, true, true]);
        apply(base.path(), "a = 0", 1).unwrap();
        assert_eq!(there(), [true, false, false, false]);
    }
}
