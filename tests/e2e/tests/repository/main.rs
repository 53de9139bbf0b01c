//! What has to be so of the repository itself: sizes, walls between programs and between modules, licences. What documents say is
//! compared in tests/documents.rs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

mod dependencies;
mod sources;
mod walls;
mod words;

use casemate_e2e::place::repository;
use std::fs;
use std::path::{Path, PathBuf};

fn files_below(directory: &str) -> Vec<PathBuf> {
    let mut left = vec![repository().join(directory)];
    let mut files = Vec::new();
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display())).flatten() {
            let path = entry.path();
            if path.is_dir() { left.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "no file below {directory}");
    files
}

fn rust_files(below: &str) -> Vec<PathBuf> {
    let mut files = files_below(below);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(!files.is_empty(), "no source below {below}");
    files
}

fn short(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap().display().to_string()
}

/// The text without what is only compiled for tests: a module marked `#[cfg(test)]` and all after its line. Modules of tests
/// stand at the end of their file here; a file that is a test module as a whole has a name that ends in `tests.rs`.
fn product(path: &Path) -> String {
    let name = short(path);
    if name.ends_with("tests.rs") || name.contains("/tests/") {
        return String::new();
    }
    let text = fs::read_to_string(path).unwrap();
    match text.find("#[cfg(test)]\nmod tests {") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
