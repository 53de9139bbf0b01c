//! Commands that fill a directory: each run finds it as the first one did.

use crate::command::Timed;
use crate::failure::{Result, Step};
use crate::measure::Contender;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A command that needs its result removed before it runs again. Neither that nor the writing back of what an earlier
/// contender left is counted.
#[derive(Debug)]
pub struct Fresh {
    /// The command.
    pub command: Timed,
    /// The directory that it fills.
    pub result: PathBuf,
    /// It wants the directory there, and empty.
    pub remade: bool,
}

impl Contender for Fresh {
    fn run(&mut self) -> Result<Duration> {
        if self.result.exists() {
            fs::remove_dir_all(&self.result).step(format_args!("remove {}", self.result.display()))?;
        }
        if self.remade {
            fs::create_dir(&self.result).step(format_args!("make {}", self.result.display()))?;
        }
        rustix::fs::sync();
        self.command.run()
    }
}
