//! Commands of the host, run to their end.

use super::wait::PATIENCE;
use casemate_e2e::{Output, Up};
use std::process::{Command, Stdio};

/// Runs a command to its end; panics when it takes longer than anything here should.
#[track_caller]
pub fn finish(mut command: Command) -> Output {
    command.stdin(Stdio::null());
    Up::start(command).wait(PATIENCE)
}

/// Runs a line of shell.
#[track_caller]
pub fn sh(line: &str) -> Output {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]);
    finish(command)
}
