//! A state directory is whole: what is there under its name is what the name says, to the last byte. Of layers that holds for those of
//! which something is known; what a cut has left of others is made again before anything stands on it.

use super::appliance::PAYLOAD;
use super::command::sh;
use casemate_e2e::oci::sha256;
use std::fs;
use std::path::{Path, PathBuf};

/// Panics where it is not.
pub fn check(state: &Path) {
    blobs(&state.join("blobs/sha256"));
    layers(state);
    revision(&state.join("revisions"));
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn blobs(directory: &Path) {
    for blob in entries(directory).into_iter().filter(|path| name(path) != ".partial") {
        assert_eq!(sha256(&fs::read(&blob).unwrap()), name(&blob), "a blob is not what its name says");
    }
}

fn known(state: &Path, layer: &Path) -> bool {
    state.join("images/trees").join(name(layer)).exists()
}

/// Panics where a layer is there of which nothing is known.
pub fn knows_every_layer(state: &Path) {
    let unknown = entries(&state.join("layers/sha256")).into_iter().find(|layer| !known(state, layer));
    assert_eq!(unknown, None, "nothing is known of it");
}

/// The test's images have three layers, and each that is there is one of them.
fn layers(state: &Path) {
    for layer in entries(&state.join("layers/sha256")).into_iter().filter(|layer| known(state, layer)) {
        let root = layer.join("fs");
        let tree = ["files-0", "files-1"].into_iter().position(|name| root.join(name).exists());
        let tree = tree.map_or_else(|| "probe".to_owned(), |number| format!("tree-{number}"));
        let differs = sh(&format!("diff -rq --no-dereference {PAYLOAD}/large/{tree} {} | head -n 20", root.display()));
        assert_eq!(differs.stdout + &differs.stderr, "", "{} is not whole", layer.display());
    }
}

/// The one that is current is there and whole.
fn revision(directory: &Path) {
    let Ok(current) = fs::read_link(directory.join("current")) else { return };
    let text = fs::read(directory.join(&current)).unwrap();
    assert_eq!(format!("{}.toml", sha256(&text)), name(&current), "the current revision is not what its name says");
}

/// Each record in the logs of a container that was started since is a whole one, and there are not more files than there may be.
pub fn logs(directory: &Path) {
    let files = entries(directory);
    assert!((1..=3).contains(&files.len()), "{files:?}");
    for file in files {
        let text = String::from_utf8(fs::read(&file).unwrap());
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let torn = text.lines().find(|line| line.splitn(4, ' ').count() != 4 || line.contains('\0'));
        assert_eq!(torn, None, "{}", file.display());
    }
}
