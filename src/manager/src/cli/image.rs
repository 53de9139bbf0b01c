//! `casemate image`: import, list, inspect, remove, pack.

use crate::cli::{Error, Global};

/// Import, list, inspect, remove and pack images.
#[derive(Debug, clap::Args)]
pub struct Image {}

impl Image {
    /// Does what the verb says.
    pub fn run(&self, _global: &Global) -> Result<(), Error> {
        Ok(())
    }
}
