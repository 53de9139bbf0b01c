//! The verbs of the units: `supervise` is casemate.service, `helper` is casemate-helper.service. Neither changes its user nor creates
//! a directory: systemd has done both, and whatever is missing is an error.

use super::{Error, Global, control, up};
use casemate_engine::launch::{self, stages::service_helper};
use casemate_engine::prepare::read_only_stores;
use casemate_engine::{RunMode, file};
use casemate_spec as spec;
use std::path::PathBuf;
use std::process::ExitCode;

/// Supervise the containers of a file as casemate.service does
///
/// For systemd units; use `casemate up` in a shell. Runs as the user casemate, without capabilities, and uses the helper of
/// casemate-helper.socket. Takes over containers that run already. SIGTERM ends the manager and leaves the containers running;
/// `casemate down` stops both. SIGHUP, or `casemate reload`, applies a changed file.
#[derive(Debug, clap::Args)]
pub struct Supervise {
    /// Stop all containers in reverse file order, through the running manager if there is one, and exit
    #[arg(long)]
    stop: bool,
    /// The file that describes the containers (TOML)
    file: PathBuf,
}

impl Supervise {
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        let mode = match self.stop {
            true if control::down_if_running(global)? => return Ok(ExitCode::SUCCESS),
            true => RunMode::Stop,
            false => RunMode::Service,
        };
        launch::verify_manager_user()?;
        up::run(&self.file, global.directories()?, mode)
    }
}

/// Execute casemate-helper as casemate-helper.service does
#[derive(Debug, clap::Args)]
pub struct Helper {
    /// Only link the layers of the read-only stores that this file names (`store.preload`) and exit; a missing file names none
    #[arg(long, value_name = "FILE")]
    lend: Option<PathBuf>,
}

impl Helper {
    /// Executes the helper and returns only on an error; with `--lend` links layers instead.
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        let directories = global.directories()?;
        let Some(path) = &self.lend else { return Err(service_helper::run(&directories).into()) };
        service_helper::link_layers(&directories, || {
            let bytes = if path.exists() { file::read(path)? } else { Vec::new() };
            // The manager reports errors of the file.
            Ok::<_, Error>(read_only_stores(&spec::store_policy(spec::text(&bytes).unwrap_or_default())))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
