//! The stage before casemate-fetch: leaves the caller's session, switches to the user of casemate-fetch without any capability, and
//! executes it.

use super::{Error, Ids, detach_from_caller, parse_ids, pass_stdin_as};
use crate::launch::privilege;
use casemate_fetch_wire::SOCKET;
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// argv[0] of this stage.
pub const NAME: &str = "casemate-launch-fetch";

/// The launch arguments, in this order on the command line: `uid:gid`, the program.
#[derive(Debug, PartialEq, Eq)]
pub struct FetchArguments {
    /// The user to switch to; the caller itself where that is an ordinary user.
    pub user: Ids,
    /// The path of casemate-fetch.
    pub program: PathBuf,
}

impl FetchArguments {
    /// As a command line.
    pub fn to_arguments(&self) -> Vec<OsString> {
        vec![format!("{}:{}", self.user.uid, self.user.gid).into(), self.program.clone().into()]
    }

    /// From a command line.
    pub fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut arguments = arguments.into_iter();
        let user = parse_ids(arguments.next()?.to_str()?)?;
        let program = arguments.next()?.into();
        arguments.next().is_none().then_some(Self { user, program })
    }
}

/// Runs this stage; standard input is the connection to the manager. Returns only on an error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Error {
    match FetchArguments::from_arguments(arguments) {
        Some(arguments) => execute(&arguments).err().unwrap_or_else(|| Error::new(NAME, "run", "cannot happen")),
        None => Error::new(NAME, "read its arguments", "incomplete").remedy("use `casemate pull`"),
    }
}

fn execute(arguments: &FetchArguments) -> Result<Infallible, Error> {
    detach_from_caller(NAME)?;
    let _socket = pass_stdin_as(SOCKET, NAME)?;
    privilege::drop_privileges(arguments.user)?;
    // No stream of the caller's terminal: a compromised casemate-fetch must not write to it.
    let error = Command::new(&arguments.program)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .exec();
    Err(Error::at(&arguments.program, "execute", error).remedy("install it beside `casemate`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_parsed_as_they_were_written() {
        let arguments = FetchArguments { user: Ids { uid: 1, gid: 2 }, program: "/p".into() };
        assert_eq!(FetchArguments::from_arguments(arguments.to_arguments()), Some(arguments));
        for bad in [&[][..], &["1:2"], &["1", "/p"], &["1:x", "/p"], &["1:2", "/p", "x"]] {
            assert_eq!(FetchArguments::from_arguments(bad.iter().map(OsString::from)), None, "{bad:?}");
        }
    }
}
