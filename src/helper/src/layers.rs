//! The store of layers: a layer is there whole, under its ChainID, or it is not there.
//!
//! `layers/sha256/HEX/fs` is the content, `layers/sha256/HEX/report` what unpack saw. Work happens in `layers/tmp` and becomes
//! visible by one rename, after everything below it was written to the disk.

use crate::fault::{At, Fault};
use casemate_wire::{Digest, LayerReport, decode, encode};
use rustix::fs::{Mode, OFlags, fsync, open};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

fn all(state: &Path) -> PathBuf {
    state.join("layers/sha256")
}

fn unfinished(state: &Path) -> PathBuf {
    state.join("layers/tmp")
}

/// Where a process mounts the tmpfs that it builds a root on.
pub fn stage_dir(state: &Path) -> PathBuf {
    state.join("layers/stage")
}

/// The content of a layer.
pub fn content(state: &Path, layer: &Digest) -> PathBuf {
    all(state).join(layer.hex()).join("fs")
}

/// Makes the directories and throws away what was not finished.
pub fn prepare(state: &Path) -> Result<(), Fault> {
    for directory in ["layers", "layers/sha256", "layers/stage", "volumes", "roots"] {
        match fs::create_dir(state.join(directory)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.at(format_args!("{} in the state directory", directory))?,
        }
    }
    match fs::remove_dir_all(unfinished(state)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => other.at("layers/tmp")?,
    }
    fs::create_dir(unfinished(state)).at("layers/tmp")
}

/// ChainIDs of all layers, sorted.
pub fn list(state: &Path) -> Result<Vec<Digest>, Fault> {
    let entries = fs::read_dir(all(state)).at("layers")?;
    let mut layers: Vec<Digest> =
        entries.flatten().filter_map(|entry| Digest::from_hex(entry.file_name().to_str()?).ok()).collect();
    layers.sort();
    Ok(layers)
}

/// Whether a layer is there.
pub fn exists(state: &Path, layer: &Digest) -> bool {
    content(state, layer).is_dir()
}

/// What unpack saw of a layer that is there.
pub fn report(state: &Path, layer: &Digest) -> Result<LayerReport, Fault> {
    let bytes = fs::read(all(state).join(layer.hex()).join("report")).at(layer)?;
    decode(&bytes).map_err(|error| Fault::container(format_args!("{layer}: report: {error}")))
}

/// A layer in the making: its directory with `fs` and `work`.
pub fn begin(state: &Path, layer: &Digest) -> Result<PathBuf, Fault> {
    let directory = unfinished(state).join(layer.hex());
    fs::create_dir(&directory).at(layer)?;
    for name in ["fs", "work"] {
        fs::create_dir(directory.join(name)).at(name)?;
    }
    rustix::fs::chmod(directory.join("fs"), Mode::from_raw_mode(0o755)).at("fs")?;
    Ok(directory)
}

/// Makes a finished layer visible. Its content was synced by the process that wrote it.
pub fn commit(state: &Path, layer: &Digest, directory: &Path, report: &LayerReport) -> Result<(), Fault> {
    fs::remove_dir_all(directory.join("work")).at("work")?;
    let bytes = encode(report).map_err(|error| Fault::container(format_args!("report: {error}")))?;
    let mut file = fs::File::create_new(directory.join("report")).at("report")?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).at("report")?;
    sync(directory)?;
    fs::rename(directory, all(state).join(layer.hex())).at(layer)?;
    sync(&all(state))
}

fn sync(directory: &Path) -> Result<(), Fault> {
    let fd = open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .at(directory.display())?;
    fsync(&fd).at(directory.display())
}

/// Throws away a layer in the making.
pub fn abandon(directory: &Path) {
    // What cannot be removed now is removed by `prepare` at the next start.
    let _ = fs::remove_dir_all(directory);
}

/// Makes a layer invisible; the directory that is returned is then removed by [`abandon`].
pub fn retire(state: &Path, layer: &Digest) -> Result<PathBuf, Fault> {
    let gone = unfinished(state).join(format!("{}.gone", layer.hex()));
    fs::rename(all(state).join(layer.hex()), &gone).at(layer)?;
    sync(&all(state))?;
    Ok(gone)
}
