//! The verbs of the units: `supervise` is casemate.service, `helper` is casemate-helper.service. Neither changes an identity
//! nor makes a directory: systemd has done that, and what it has not done is an error.

use super::{Error, Global, ask, up};
use casemate_engine::launch::{self, stages::service_helper};
use casemate_engine::prepare::read_only_stores;
use casemate_engine::{RunMode, file};
use casemate_spec as spec;
use std::path::PathBuf;
use std::process::ExitCode;

/// Supervise the containers of a file as casemate.service does
///
/// Uses the helper of casemate-helper.socket, takes over what runs, and leaves the containers running when it is told to end;
/// `casemate down` ends them. `casemate reload`, or SIGHUP, has it read the file again. It runs as the user casemate, without any
/// privilege.
#[derive(Debug, clap::Args)]
pub struct Supervise {
    /// Stop what runs, in reverse order: by the manager that runs, else in its place
    #[arg(long)]
    stop: bool,
    /// The file
    file: PathBuf,
}

impl Supervise {
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        let mode = match self.stop {
            true if ask::down_if_running(global)? => return Ok(ExitCode::SUCCESS),
            true => RunMode::Stop,
            false => RunMode::Service,
        };
        launch::verify_manager_user()?;
        up::run(&self.file, global.directories()?, mode)
    }
}

/// Become casemate-helper, inside casemate-helper.service
#[derive(Debug, clap::Args)]
pub struct Helper {
    /// Before that, and in a process of its own: link the layers of the stores that this file preloads, if it is there
    #[arg(long, value_name = "FILE")]
    lend: Option<PathBuf>,
}

impl Helper {
    /// Becomes the helper, and comes back with what failed; or makes links for it.
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        let directories = global.directories()?;
        let Some(path) = &self.lend else { return Err(service_helper::run(&directories).into()) };
        service_helper::link_layers(&directories, || {
            let bytes = if path.exists() { file::read(path)? } else { Vec::new() };
            // What is wrong with the file is for the manager to say.
            Ok::<_, Error>(read_only_stores(&spec::store_policy(spec::text(&bytes).unwrap_or_default())))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
