//! Commands that fill a directory: each run gets a new one.

use crate::command::Timed;
use crate::failure::{Result, Step};
use crate::measure::Contender;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The command line for a result directory.
type CommandLine = Box<dyn Fn(&Path) -> Vec<OsString>>;

/// A command that needs a new directory for its result each time. What earlier runs wrote is on the disk before it starts. Results
/// are removed when all is measured: for minutes after a removal, ext4 looks at every removed inode before it takes a new one
/// (`recently_deleted` in fs/ext4/ialloc.c), which would cost the next command more than its own work.
pub struct Fresh {
    /// The command for a result directory.
    pub command: CommandLine,
    /// The directory that it fills; each run's has a number behind this name.
    pub result: PathBuf,
    /// The command wants the directory to exist.
    pub create: bool,
    /// Runs so far.
    pub runs: u32,
}

impl Fresh {
    /// A command that finds its result directory empty.
    pub fn new(result: PathBuf, command: impl Fn(&Path) -> Vec<OsString> + 'static) -> Self {
        Self { command: Box::new(command), result, create: true, runs: 0 }
    }

    /// The command line for the next run, with its directory.
    pub fn next(&mut self) -> Result<Timed> {
        self.runs += 1;
        let mut name = self.result.clone().into_os_string();
        name.push(format!("-{}", self.runs));
        let result = PathBuf::from(name);
        if self.create {
            fs::create_dir(&result).step(format_args!("make {}", result.display()))?;
        }
        Ok(Timed::new((self.command)(&result)))
    }
}

impl Contender for Fresh {
    fn run(&mut self) -> Result<Duration> {
        let mut command = self.next()?;
        rustix::fs::sync();
        command.run()
    }
}
