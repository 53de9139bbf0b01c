//! `casemate up`, and the manager that it shares with `casemate supervise`.

use super::image::progress::progress;
use super::{Error, Global, file};
use casemate_engine::file::SpecFile;
use casemate_engine::launch::Directories;
use casemate_engine::{Outcome, RunMode, session};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLE: &str = "Example:\n  casemate image import app.tar\n  casemate up casemate.toml\n\n\
    Ctrl-C stops the containers in reverse order, a second Ctrl-C kills them. After `kill -9` of this process the containers \
    run on; the same command takes them over again.";

/// Start the containers of a file, and stay with them
///
/// Every line of output is shown behind the name of its container. Ends when every container has ended for good: 0 if all
/// ended well, else 1.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Up {
    /// The file
    file: PathBuf,
}

impl Up {
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        run(&self.file, global.directories()?, RunMode::Foreground)
    }
}

/// Reads the file, runs a manager with it, and gives the exit code of how that ended.
pub(super) fn run(path: &Path, directories: Directories, mode: RunMode) -> Result<ExitCode, Error> {
    let file = match mode {
        RunMode::Foreground | RunMode::Service => file::read(path, Some(&directories.state))?,
        RunMode::Stop => match SpecFile::applied(path, &directories.state)? {
            Some(file) => file.map_err(|invalid| file::print_findings(&invalid))?,
            // No file was applied, so nothing runs.
            None => return Ok(ExitCode::SUCCESS),
        },
    };
    file::print_warnings(&file);
    let outcome = session::run(file, directories, mode, progress).map_err(|errors| file::print_errors(path, errors))?;
    Ok(match (outcome, mode) {
        (Outcome::NotApplied(errors), _) => return Err(file::print_errors(path, errors)),
        (Outcome::Ended(Some(code)), RunMode::Foreground) => code.into(),
        // A service that was told to end has done so, whatever had become of its containers before.
        (Outcome::Ended(_) | Outcome::Left, _) => ExitCode::SUCCESS,
    })
}
