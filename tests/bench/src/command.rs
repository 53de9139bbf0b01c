//! A peer's command, timed as its user meets it: from before the process is made until it was waited for.

use crate::failure::{Failure, Result, Step};
use crate::measure::Contender;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What an agent for a command is called with.
pub const VERB: &str = "agent-command";

/// A command line, and what it reads.
#[derive(Debug, Clone)]
pub struct Timed {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Standard input; none: /dev/null.
    pub input: Option<PathBuf>,
}

impl Timed {
    /// Program and arguments, with nothing to read.
    pub fn new<A: Into<OsString>>(argv: impl IntoIterator<Item = A>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), input: None }
    }
}

impl Contender for Timed {
    fn run(&mut self) -> Result<Duration> {
        let [program, arguments @ ..] = self.argv.as_slice() else {
            return Err(Failure::new("run a command", "it is empty"));
        };
        let input = match &self.input {
            Some(path) => Stdio::from(File::open(path).step(format_args!("open {}", path.display()))?),
            None => Stdio::null(),
        };
        // A file, not a pipe: a peer that leaves a process behind must not keep us waiting for the end of its output.
        let mut said = tempfile::tempfile().step("make a temporary file")?;
        let errors = Stdio::from(said.try_clone().step("duplicate a descriptor")?);
        let begin = Instant::now();
        let status = Command::new(program)
            .args(arguments)
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(errors)
            .status()
            .step(format_args!("run {}", program.display()))?;
        let time = begin.elapsed();
        if status.success() {
            return Ok(time);
        }
        let mut text = String::new();
        said.rewind().and_then(|()| said.read_to_string(&mut text)).step("read what it said")?;
        Err(Failure::new(format!("{} ended with {status}", program.display()), text.trim()))
    }
}
