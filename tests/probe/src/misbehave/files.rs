//! Small operations on files, with their results printed.

use super::say;
use crate::answer::Answer;
use std::fs;
use std::path::Path;

/// Creates the file `mark` in this directory, if it can.
pub fn mark(directory: &str) {
    let result = fs::write(Path::new(directory).join("mark"), "");
    say(&format!("mark: {}", Answer::of(&result)));
}

/// Looks for a file.
pub fn find(path: &str) {
    say(&format!("find: {}", Answer::of(&fs::metadata(path))));
}

/// Says what the working directory is; one outside the root has no name, and getcwd says ENOENT.
pub fn working_directory() {
    match std::env::current_dir() {
        Ok(path) => say(&format!("where: {}", path.display())),
        error => say(&format!("where: {}", Answer::of(&error))),
    }
}
