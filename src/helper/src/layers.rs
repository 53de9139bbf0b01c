//! The store of layers: a layer is complete, under its ChainID, or absent.
//!
//! `layers/sha256/HEX/fs` is the content. Layers are made in `layers/tmp` and become visible by one rename. Whether the content has
//! reached the disk by then is the client's choice: see [`casemate_wire::Unpack::sync`].

use casemate_confine::{At, Error};
use casemate_container::StateDirectory;
use casemate_sys::process::{Fork, Namespaces, SingleThreaded, exit_now, fork};
use casemate_wire::{Digest, Layer, Layers};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

fn unfinished(state: &StateDirectory) -> PathBuf {
    state.join("layers/tmp")
}

/// Makes the directories of the state directory, and removes unfinished layers.
pub fn prepare(state: &StateDirectory) -> Result<(), Error> {
    for directory in ["layers/sha256", "layers/dev", "layers/stage", "layers/tmp", "volumes", "roots"] {
        fs::create_dir_all(state.join(directory)).at(format_args!("{directory} in the state directory"))?;
    }
    fs::remove_dir_all(unfinished(state)).and_then(|()| fs::create_dir(unfinished(state))).at("layers/tmp")
}

/// The complete layers in the order of their ChainIDs, at most `most` of those behind `after`; and whether there are more.
pub fn list(state: &StateDirectory, after: Option<Digest>, most: usize) -> Result<Layers, Error> {
    let entries = fs::read_dir(state.layers()).at("layers")?;
    let found = entries.flatten().filter_map(|entry| Digest::from_hex(entry.file_name().to_str()?).ok());
    let mut found: Vec<Digest> = found.filter(|layer| after.is_none_or(|after| *layer > after)).collect();
    found.sort_unstable();
    let is_link = |layer: &Digest| state.layers().join(layer.hex()).is_symlink();
    let mut complete = found.into_iter().filter(|layer| state.has_layer(layer));
    let page = complete.by_ref().take(most).map(|chain_id| Layer { chain_id, link: is_link(&chain_id) });
    Ok(Layers { layers: page.collect(), more: complete.next().is_some() })
}

/// Begins a layer: its directory in `layers/tmp` with `fs` and `work`.
pub fn begin(state: &StateDirectory, layer: &Digest) -> Result<PathBuf, Error> {
    let directory = unfinished(state).join(layer.hex());
    fs::create_dir(&directory).at(layer)?;
    let inside = ["fs", "work"].into_iter().try_for_each(|name| fs::create_dir(directory.join(name)).at(name));
    inside.inspect_err(|_| abandon(&directory)).map(|()| directory)
}

/// Makes a finished layer visible; a link of the same name is replaced.
pub fn commit(state: &StateDirectory, layer: &Digest, directory: &Path) -> Result<(), Error> {
    fs::remove_dir_all(directory.join("work")).at("work")?;
    sync(directory)?;
    // Fails where there is no link; a directory is not removed by it.
    let _ = fs::remove_file(state.layers().join(layer.hex()));
    fs::rename(directory, state.layers().join(layer.hex())).at(layer)?;
    sync(&state.layers())
}

fn sync(directory: &Path) -> Result<(), Error> {
    fs::File::open(directory).and_then(|directory| directory.sync_all()).at(directory.display())
}

/// Removes an unfinished layer.
pub fn abandon(directory: &Path) {
    // What cannot be removed now, `prepare` removes at the next start.
    let _ = fs::remove_dir_all(directory);
}

/// Removes an unfinished or retired layer in a child, which is to be reaped: a layer can have hundreds of thousands of files.
pub fn abandon_in_child(proof: &SingleThreaded, directory: &Path) -> Option<OwnedFd> {
    match fork(proof, Namespaces::NONE, None) {
        Ok(Fork::Parent { pidfd, .. }) => Some(pidfd),
        Ok(Fork::Child) => {
            abandon(directory);
            exit_now(0)
        }
        Err(_) => None,
    }
}

/// Makes a layer invisible. Returns its directory, for [`abandon_in_child`].
pub fn retire(state: &StateDirectory, layer: &Digest) -> Result<PathBuf, Error> {
    let gone = unfinished(state).join(format!("{}.gone", layer.hex()));
    fs::rename(state.layers().join(layer.hex()), &gone).at(layer)?;
    sync(&state.layers()).map(|()| gone)
}
