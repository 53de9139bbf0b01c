//! Writes an image layout as a directory or as an archive.
//!
//! Either appears complete or not at all, and never replaces a file that exists.

use super::input::Input;
use crate::error::Error;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// An image layout to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// An OCI layout directory.
    Directory(PathBuf),
    /// An OCI archive.
    Archive(PathBuf),
}

impl Output {
    /// The form by the file name: `x.tar` is an archive, any other name a directory.
    pub fn new(path: PathBuf) -> Self {
        if path.extension().is_some_and(|extension| extension == "tar") {
            Self::Archive(path)
        } else {
            Self::Directory(path)
        }
    }

    /// Writes the layout; `time` is the modification time of an archive's members.
    pub fn write(&self, input: &Input, time: u64) -> Result<(), Error> {
        let (Self::Directory(path) | Self::Archive(path)) = self;
        if fs::symlink_metadata(path).is_ok() {
            return Err(exists(path));
        }
        let partial = partial_name(path)?;
        // Created by this process only, so that an error never removes another's files.
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
            // The first error is reported; a partial file that cannot be removed has the output's name in its own.
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

/// A name with the process id in it, as two processes may write the same output.
fn partial_name(path: &Path) -> Result<PathBuf, Error> {
    let reason = || "names no file".to_owned();
    let name = path.file_name().ok_or_else(|| Error::Pack { path: path.to_owned(), reason: reason() })?;
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}.partial", std::process::id()));
    Ok(path.with_file_name(partial))
}

/// Renames the synced partial output, unless another process has created the output in the meantime.
fn appear(partial: &Path, path: &Path) -> Result<(), Error> {
    match renameat_with(CWD, partial, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(exists(path)),
        // Some network file systems do not support RENAME_NOREPLACE.
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
    use crate::layout::Part;

    fn input() -> Input {
        Input::new(PathBuf::from("test"), [("index.json".to_owned(), Part::bytes(b"{}".to_vec()))].into())
    }

    #[test]
    fn output_never_replaces_or_removes_files_of_others() {
        let base = tempfile::tempdir().unwrap();
        for name in ["image", "image.tar"] {
            let path = base.path().join(name);
            // A partial output of another process.
            let other = base.path().join(format!(".{name}.partial"));
            fs::create_dir(&other).unwrap();
            fs::write(other.join("index.json"), "other").unwrap();
            Output::new(path.clone()).write(&input(), 0).unwrap();
            assert_eq!(fs::read_to_string(other.join("index.json")).unwrap(), "other");
            assert!(Output::new(path.clone()).write(&input(), 0).is_err());
            // Another process has taken the partial name of this one.
            let own = partial_name(&base.path().join("next")).unwrap();
            fs::create_dir_all(&own).unwrap();
            fs::write(own.join("file"), "other").unwrap();
            assert!(Output::Directory(base.path().join("next")).write(&input(), 0).is_err());
            assert!(Output::Archive(base.path().join("next")).write(&input(), 0).is_err());
            assert_eq!(fs::read_to_string(own.join("file")).unwrap(), "other");
            // Another process has created the output in the meantime.
            let partial = base.path().join("partial");
            fs::write(&partial, "late").unwrap();
            assert!(appear(&partial, &path).is_err() && partial.exists());
        }
    }
}
