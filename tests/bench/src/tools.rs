//! Running other people's programs, and saying which of them are not here.

use crate::failure::{Failure, Result, Step};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where a program is, or the words for a row that lacks it.
pub fn find(program: &str, package: &str) -> std::result::Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{program} is not installed (apt install {package})"))
}

/// Runs to the end; anything but success is an error that carries what the program said.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().step(format_args!("run {:?}", command.get_program()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("{:?} {}", command.get_program(), output.status), said.trim()))
}
