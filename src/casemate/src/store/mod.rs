//! `casemate store`.

mod df;
mod fsck;
mod gc;

use crate::{Error, Global};

/// Show, check and clean the store of images
#[derive(Debug, clap::Args)]
pub struct Store {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Df(df::Df),
    Fsck(fsck::Fsck),
    Gc(gc::Gc),
}

impl Store {
    /// Does what the verb says.
    pub fn run(&self, global: &Global) -> Result<(), Error> {
        match &self.verb {
            Verb::Df(verb) => verb.run(global),
            Verb::Fsck(verb) => verb.run(global),
            Verb::Gc(verb) => verb.run(global),
        }
    }
}
