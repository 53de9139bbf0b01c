//! `casemate up`, and the start of a manager that `casemate supervise` shares.

use super::progress::progress;
use super::{Error, Global, file};
use casemate_engine::file::SpecFile;
use casemate_engine::launch::Directories;
use casemate_engine::{Outcome, RunMode, session};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLE: &str = "Example:\n  casemate image import app.tar\n  casemate up casemate.toml\n\n\
    Ctrl-C stops the containers in reverse file order; a second Ctrl-C kills them. After `kill -9` of this process the containers \
    keep running, and the same command takes them over.";

/// Start the containers of a file and supervise them in the foreground
///
/// Prints the output of the containers, each line with the container's name in front. Containers that run already are taken over;
/// changed ones are restarted, and those that the file no longer has are stopped. Images have to be in the store: `casemate pull` or
/// `casemate image import` puts them there. Ends when no container runs and no restart policy starts one again: with 0 if all
/// containers ended with 0, else with 1.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Up {
    /// The file that describes the containers (TOML)
    file: PathBuf,
}

impl Up {
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        run(&self.file, global.directories()?, RunMode::Foreground)
    }
}

/// Reads the file and runs a manager with it. Returns the exit code of the verb.
pub(super) fn run(path: &Path, directories: Directories, mode: RunMode) -> Result<ExitCode, Error> {
    let file = match mode {
        RunMode::Foreground | RunMode::Service => file::read(path, Some(&directories.state))?,
        RunMode::Stop => match SpecFile::applied(path, &directories.state)? {
            Some(file) => file.map_err(|invalid| file::print_findings(&invalid))?,
            // No file was applied, so no container runs.
            None => return Ok(ExitCode::SUCCESS),
        },
    };
    file::print_warnings(&file);
    let outcome = session::run(file, directories, mode, progress).map_err(|errors| file::print_errors(path, errors))?;
    Ok(match (outcome, mode) {
        (Outcome::NotApplied(errors), _) => return Err(file::print_errors(path, errors)),
        (Outcome::Ended(Some(code)), RunMode::Foreground) => code.into(),
        // A service ends on request: the exit codes of its containers are not its own.
        (Outcome::Ended(_) | Outcome::Left, _) => ExitCode::SUCCESS,
    })
}
