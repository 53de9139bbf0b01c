//! `casemate bundle`.

mod load;
mod output;
mod save;

use crate::{Error, Global};
use std::process::ExitCode;

/// Move a file and its images to a host without a network
///
/// A bundle is an OCI archive, with the file and its seccomp profiles in the directory casemate/: skopeo, podman and containerd can read
/// its images.
#[derive(Debug, clap::Args)]
pub struct Bundle {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Save(save::Save),
    Load(load::Load),
}

impl Bundle {
    /// Does what the verb says.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        match &self.verb {
            Verb::Save(verb) => verb.run(global),
            Verb::Load(verb) => verb.run(global),
        }
    }
}
