//! The files that were applied: `revisions/<sha256>.toml`, and `current`, a link to the one that was applied last. Both appear
//! by rename, so a power cut leaves the old one or the new one. The one that was current before is kept as the way back; all
//! others go, as each would hold its images in the store for ever.

use casemate_wire::Digest;
use sha2::{Digest as _, Sha256};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

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

/// Keeps the text and makes it the current revision; of the others, only the one that it takes the place of is kept.
pub fn apply(state: &Path, text: &str) -> io::Result<()> {
    let directory = state.join("revisions");
    let name = format!("{}.toml", revision(text).hex());
    if !directory.join(&name).is_file() {
        let work = directory.join(format!(".{name}"));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&work)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&work, directory.join(&name))?;
    }
    let current = directory.join("current");
    let before = fs::read_link(&current).unwrap_or_default();
    if before == Path::new(&name) {
        return Ok(());
    }
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
        let kept = [OsStr::new("current"), OsStr::new(&name), before.as_os_str()];
        if !kept.contains(&entry.file_name().as_os_str()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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
            apply(base.path(), text).unwrap();
            assert_eq!(fs::read_to_string(base.path().join("revisions/current")).unwrap(), text);
            assert_eq!(current(base.path()).unwrap().as_deref(), Some(text));
            assert!(find(base.path(), &revision(text)).is_some());
        }
        assert_eq!(fs::read_dir(base.path().join("revisions")).unwrap().count(), 3);
        assert_eq!(find(base.path(), &revision("other")), None);
        // Again, which changes nothing; then a third, which lets the older one of the two go.
        apply(base.path(), "a = 1").unwrap();
        assert!(find(base.path(), &revision("a = 2")).is_some());
        apply(base.path(), "a = 3").unwrap();
        let there = ["a = 1", "a = 2", "a = 3"].map(|text| find(base.path(), &revision(text)).is_some());
        assert_eq!(there, [true, false, true]);
        assert_eq!(fs::read_dir(base.path().join("revisions")).unwrap().count(), 3);
    }
}
