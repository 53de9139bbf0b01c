//! A new file of the caller's that appears whole or not at all, though the one who writes it is the manager's user: it is written by
//! this program once more, whose standard output it is.

use crate::{Code, Error, Global};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Runs `casemate` with these words and has its standard output in the file.
pub fn written_by(path: &Path, words: &[&OsStr], global: &Global) -> Result<ExitCode, Error> {
    let failed = |step| move |error: std::io::Error| Error::new(Code::Failed, path.display(), step, error);
    if fs::symlink_metadata(path).is_ok() {
        return Err(Error::new(Code::Usage, path.display(), "create", "it exists already")
            .remedy("remove it, or choose another name"));
    }
    let Some(name) = path.file_name() else {
        return Err(Error::new(Code::Usage, path.display(), "create", "it names no file"));
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
        // It has said why.
        Ok(status) => {
            let _ = fs::remove_file(&partial);
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Ok(code.map_or_else(|| Code::Failed.into(), ExitCode::from));
        }
        Err(error) => Err(error),
    };
    if written.is_err() {
        // The first error counts; what cannot be removed is named after the output.
        let _ = fs::remove_file(&partial);
    }
    written.map(|()| ExitCode::SUCCESS).map_err(failed("write"))
}
