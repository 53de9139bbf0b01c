//! The helper's command line: written by the launcher or a unit file, never by a user's file.

use std::ffi::OsString;
use std::path::PathBuf;

/// What to do.
pub enum Command {
    /// Print the steps of a start.
    Steps,
    /// Serve on descriptor 3.
    Serve(Settings),
}

/// How to serve.
pub struct Settings {
    /// Where layers, volumes and persistent roots are.
    pub state_dir: PathBuf,
    /// The only uid that may connect, as the host numbers it.
    pub manager: u32,
    /// First host id and count of A's range after 0; none: A has the one id of its user.
    pub range: Option<(u32, u32)>,
}

const USAGE: &str = "usage: casemate-helper --state-dir DIR --manager UID [--range BASE:COUNT] | --steps";

/// Reads the arguments after the program's name.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let (mut state_dir, mut manager, mut range) = (None, None, None);
    let mut args = args.map(OsString::into_string);
    while let Some(key) = args.next() {
        let key = key.map_err(|_| USAGE)?;
        if key == "--steps" {
            return Ok(Command::Steps);
        }
        let value = args.next().ok_or(USAGE)?.map_err(|_| USAGE)?;
        match key.as_str() {
            "--state-dir" => state_dir = Some(PathBuf::from(value)),
            "--manager" => manager = Some(value.parse().map_err(|_| USAGE)?),
            "--range" => {
                let (base, count) = value.split_once(':').ok_or(USAGE)?;
                range = Some((base.parse().map_err(|_| USAGE)?, count.parse().map_err(|_| USAGE)?));
            }
            _ => return Err(USAGE.to_owned()),
        }
    }
    match (state_dir, manager) {
        (Some(state_dir), Some(manager)) if state_dir.is_absolute() => {
            Ok(Command::Serve(Settings { state_dir, manager, range }))
        }
        _ => Err(USAGE.to_owned()),
    }
}
