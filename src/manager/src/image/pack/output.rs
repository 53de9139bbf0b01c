//! Where a packed image goes when it does not go into the store: a layout directory, or the same as an archive.
//!
//! Either appears whole or not at all, and nothing that exists is written over.

use super::super::error::Error;
use super::super::import::Input;
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
            let reason = "it exists already; remove it or choose another name".to_owned();
            return Err(Error::Pack { path: path.clone(), reason });
        }
        let partial = partial_name(path)?;
        let written = match self {
            Self::Directory(_) => directory(input, &partial),
            Self::Archive(_) => archive(input, &partial, time),
        };
        let written = written.and_then(|()| fs::rename(&partial, path).map_err(Error::io("rename to", path)));
        if written.is_err() {
            // The first error counts; what cannot be removed is named after the output.
            let _ = fs::remove_file(&partial).or_else(|_| fs::remove_dir_all(&partial));
        }
        written
    }
}

fn partial_name(path: &Path) -> Result<PathBuf, Error> {
    let reason = || "names no file".to_owned();
    let name = path.file_name().ok_or_else(|| Error::Pack { path: path.to_owned(), reason: reason() })?;
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(".partial");
    Ok(path.with_file_name(partial))
}

fn directory(input: &Input, dir: &Path) -> Result<(), Error> {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
    for (name, part) in input.parts() {
        let path = dir.join(name);
        let mut file = create(&path)?;
        io::copy(&mut part.reader(), &mut file).map_err(Error::io("write", &path))?;
    }
    Ok(())
}

fn archive(input: &Input, path: &Path, time: u64) -> Result<(), Error> {
    let mut builder = Builder::new(create(path)?);
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
    builder.into_inner().map(drop).map_err(Error::io("write", path))
}

fn create(path: &Path) -> Result<File, Error> {
    OpenOptions::new().write(true).create_new(true).open(path).map_err(Error::io("create", path))
}
