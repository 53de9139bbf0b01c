//! `casemate bundle`: a file and all that it needs, as one archive.

mod load;
mod output;
mod save;

use crate::{Error, Global};
use std::process::ExitCode;

/// Carry a file and its images to a machine without a network
///
/// A bundle is an OCI archive: skopeo, podman and containerd read its images. The file and its profiles lie below casemate/ in it.
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
