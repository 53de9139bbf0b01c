//! Output of a verb as a new file of the caller, complete or not at all. A child process, which changes to the manager's user, writes it
//! as its standard output.

use crate::{Code, Error, Global};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Runs `casemate` with these arguments and its standard output in the new file.
pub fn written_by(path: &Path, words: &[&OsStr], global: &Global) -> Result<ExitCode, Error> {
    let failed = |step| move |error: std::io::Error| Error::new(Code::Failed, path.display(), step, error);
    if fs::symlink_metadata(path).is_ok() {
        return Err(
            Error::new(Code::Usage, path.display(), "create", "it exists").remedy("remove it, or choose another name")
        );
    }
    let Some(name) = path.file_name() else {
        return Err(Error::new(Code::Usage, path.display(), "create", "the path has no file name"));
    };
    let mut partial = OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(partial);
    let file = File::create_new(&partial).map_err(failed("create"))?;
    let program = std::env::current_exe().map_err(failed("find this program for"))?;
    let output = file.try_clone().map_err(failed("open"))?;
    let status =
        Command::new(program).args(global.arguments()).args(words).stdin(Stdio::null()).stdout(output).status();
    let written = match status {
        Ok(status) if status.success() => file.sync_all().and_then(|()| fs::rename(&partial, path)),
        // The child has printed the reason.
        Ok(status) => {
            let _ = fs::remove_file(&partial);
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Ok(code.map_or_else(|| Code::Failed.into(), ExitCode::from));
        }
        Err(error) => Err(error),
    };
    if written.is_err() {
        // The first error is returned. The name of a leftover shows which output it belongs to.
        let _ = fs::remove_file(&partial);
    }
    written.map(|()| ExitCode::SUCCESS).map_err(failed("write"))
}
