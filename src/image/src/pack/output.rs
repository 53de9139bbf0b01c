//! Where a packed image goes when it does not go into the store: a layout directory, or the same as an archive.
//!
//! Either appears whole or not at all, and nothing that exists is written over.

use super::super::error::Error;
use super::super::import::Input;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// The output's form: by its name, as tar does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// An OCI layout directory.
    Directory(PathBuf),
    /// An OCI archive.
    Archive(PathBuf),
}

impl Output {
    /// `x.tar` is an archive, everything else a directory.
    pub fn new(path: PathBuf) -> Self {
        if path.extension().is_some_and(|extension| extension == "tar") {
            Self::Archive(path)
        } else {
            Self::Directory(path)
        }
    }

    /// Writes the layout.
    pub fn write(&self, input: &Input, time: u64) -> Result<(), Error> {
        let (Self::Directory(path) | Self::Archive(path)) = self;
        if fs::symlink_metadata(path).is_ok() {
            return Err(exists(path));
        }
        let partial = partial_name(path)?;
        // What this makes is this one's alone; nothing else is written to, or removed when something fails.
        let written = match self {
            Self::Directory(_) => {
                fs::create_dir(&partial).map_err(Error::io("create", &partial))?;
                directory(input, &partial)
            }
            Self::Archive(_) => {
                let file = create(&partial)?;
                archive(input, file, &partial, time)
            }
        };
        let appeared = written.and_then(|()| appear(&partial, path));
        if appeared.is_err() {
            // The first error counts; what cannot be removed is named after the output.
            let _ = match self {
                Self::Directory(_) => fs::remove_dir_all(&partial),
                Self::Archive(_) => fs::remove_file(&partial),
            };
        }
        appeared
    }
}

fn exists(path: &Path) -> Error {
    let reason = "it exists already; remove it or choose another name".to_owned();
    Error::Pack { path: path.to_owned(), reason }
}

/// Of this process, so that two that pack to the same place do not meet.
fn partial_name(path: &Path) -> Result<PathBuf, Error> {
    let reason = || "names no file".to_owned();
    let name = path.file_name().ok_or_else(|| Error::Pack { path: path.to_owned(), reason: reason() })?;
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}.partial", std::process::id()));
    Ok(path.with_file_name(partial))
}

/// Gives what is on the disk its name, if nobody else has taken that meanwhile.
fn appear(partial: &Path, path: &Path) -> Result<(), Error> {
    match renameat_with(CWD, partial, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(exists(path)),
        // A file system of a network may not know this.
        Err(Errno::INVAL) if fs::symlink_metadata(path).is_err() => {
            fs::rename(partial, path).map_err(Error::io("rename to", path))?;
        }
        Err(errno) => return Err(Error::errno("rename to", path)(errno)),
    }
    sync(path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))
}

fn sync(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(Error::io("fsync", directory))
}

fn directory(input: &Input, dir: &Path) -> Result<(), Error> {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
    for (name, part) in input.parts() {
        let path = dir.join(name);
        let mut file = create(&path)?;
        io::copy(&mut part.reader(), &mut file).map_err(Error::io("write", &path))?;
        file.sync_all().map_err(Error::io("fsync", &path))?;
    }
    [&blobs, &dir.join("blobs"), dir].into_iter().try_for_each(sync)
}

fn archive(input: &Input, file: File, path: &Path, time: u64) -> Result<(), Error> {
    let mut builder = Builder::new(file);
    for (name, part) in input.parts() {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(time);
        header.set_size(part.size);
        builder.append_data(&mut header, name, part.reader()).map_err(Error::io("write", path))?;
    }
    let file = builder.into_inner().map_err(Error::io("write", path))?;
    file.sync_all().map_err(Error::io("fsync", path))
}

fn create(path: &Path) -> Result<File, Error> {
    OpenOptions::new().write(true).create_new(true).open(path).map_err(Error::io("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::Part;

    fn input() -> Input {
        Input::new(PathBuf::from("test"), [("index.json".to_owned(), Part::bytes(b"{}".to_vec()))].into())
    }

    #[test]
    fn nothing_of_others_is_written_over_or_removed() {
        let base = tempfile::tempdir().unwrap();
        for name in ["image", "image.tar"] {
            let path = base.path().join(name);
            // What another one that packs has begun.
            let other = base.path().join(format!(".{name}.partial"));
            fs::create_dir(&other).unwrap();
            fs::write(other.join("index.json"), "other").unwrap();
            Output::new(path.clone()).write(&input(), 0).unwrap();
            assert_eq!(fs::read_to_string(other.join("index.json")).unwrap(), "other");
            assert!(Output::new(path.clone()).write(&input(), 0).is_err());
            // One that has taken the name this process would take.
            let own = partial_name(&base.path().join("next")).unwrap();
            fs::create_dir_all(&own).unwrap();
            fs::write(own.join("file"), "other").unwrap();
            assert!(Output::Directory(base.path().join("next")).write(&input(), 0).is_err());
            assert!(Output::Archive(base.path().join("next")).write(&input(), 0).is_err());
            assert_eq!(fs::read_to_string(own.join("file")).unwrap(), "other");
            // And one that has been faster with the name of the output.
            let partial = base.path().join("partial");
            fs::write(&partial, "late").unwrap();
            assert!(appear(&partial, &path).is_err() && partial.exists());
        }
    }
}
