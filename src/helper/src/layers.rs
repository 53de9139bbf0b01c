//! The store of layers: a layer is there whole, under its ChainID, or it is not there.
//!
//! `layers/sha256/HEX/fs` is the content. Work happens in `layers/tmp` and becomes visible by one rename. Whether its content has
//! reached the disk is for the one who asked to know: see [`casemate_wire::Unpack::sync`].

use casemate_confine::{At, Fault};
use casemate_sys::process::{Fork, Namespaces, SingleThreaded, exit_now, fork};
use casemate_wire::{Digest, Layer, Layers};
use std::fs;
use std::os::fd::OwnedFd;
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

/// Where the helper mounts the part of `/dev` that its containers share.
pub fn dev_dir(state: &Path) -> PathBuf {
    state.join("layers/dev")
}

/// The content of a layer.
pub fn content(state: &Path, layer: &Digest) -> PathBuf {
    all(state).join(layer.hex()).join("fs")
}

/// Makes the directories and throws away what was not finished.
pub fn prepare(state: &Path) -> Result<(), Fault> {
    for directory in ["layers/sha256", "layers/dev", "layers/stage", "layers/tmp", "volumes", "roots"] {
        fs::create_dir_all(state.join(directory)).at(format_args!("{directory} in the state directory"))?;
    }
    fs::remove_dir_all(unfinished(state)).and_then(|()| fs::create_dir(unfinished(state))).at("layers/tmp")
}

/// The complete layers in the order of their ChainIDs, at most `most` of those behind `after`; and whether there are more.
pub fn list(state: &Path, after: Option<Digest>, most: usize) -> Result<Layers, Fault> {
    let entries = fs::read_dir(all(state)).at("layers")?;
    let found = entries.flatten().filter_map(|entry| Digest::from_hex(entry.file_name().to_str()?).ok());
    let mut found: Vec<Digest> = found.filter(|layer| after.is_none_or(|after| *layer > after)).collect();
    found.sort_unstable();
    let is_link = |layer: &Digest| all(state).join(layer.hex()).is_symlink();
    let mut complete = found.into_iter().filter(|layer| exists(state, layer));
    let page = complete.by_ref().take(most).map(|chain_id| Layer { chain_id, link: is_link(&chain_id) });
    Ok(Layers { layers: page.collect(), more: complete.next().is_some() })
}

/// Whether a layer is there.
pub fn exists(state: &Path, layer: &Digest) -> bool {
    content(state, layer).is_dir()
}

/// A layer in the making: its directory with `fs` and `work`.
pub fn begin(state: &Path, layer: &Digest) -> Result<PathBuf, Fault> {
    let directory = unfinished(state).join(layer.hex());
    fs::create_dir(&directory).at(layer)?;
    let inside = ["fs", "work"].into_iter().try_for_each(|name| fs::create_dir(directory.join(name)).at(name));
    inside.inspect_err(|_| abandon(&directory)).map(|()| directory)
}

/// Makes a finished layer visible, in the place of a link.
pub fn commit(state: &Path, layer: &Digest, directory: &Path) -> Result<(), Fault> {
    fs::remove_dir_all(directory.join("work")).at("work")?;
    sync(directory)?;
    // Where there is no link, or a layer, it takes nothing away.
    let _ = fs::remove_file(all(state).join(layer.hex()));
    fs::rename(directory, all(state).join(layer.hex())).at(layer)?;
    sync(&all(state))
}

fn sync(directory: &Path) -> Result<(), Fault> {
    fs::File::open(directory).and_then(|directory| directory.sync_all()).at(directory.display())
}

/// Throws away a layer in the making.
pub fn abandon(directory: &Path) {
    // What cannot be removed now is removed by `prepare` at the next start.
    let _ = fs::remove_dir_all(directory);
}

/// Does the same in a child, which is to be reaped: a layer can have hundreds of thousands of files.
pub fn abandon_aside(proof: &SingleThreaded, directory: &Path) -> Option<OwnedFd> {
    match fork(proof, Namespaces::NONE, None) {
        Ok(Fork::Parent { pidfd, .. }) => Some(pidfd),
        Ok(Fork::Child) => {
            abandon(directory);
            exit_now(0)
        }
        Err(_) => None,
    }
}

/// Makes a layer invisible; the directory that is returned is then removed by [`abandon_aside`].
pub fn retire(state: &Path, layer: &Digest) -> Result<PathBuf, Fault> {
    let gone = unfinished(state).join(format!("{}.gone", layer.hex()));
    fs::rename(all(state).join(layer.hex()), &gone).at(layer)?;
    sync(&all(state)).map(|()| gone)
}
