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
    /// Seconds between two signs of life on descriptor 4; none: nobody waits for one.
    pub notify: Option<i64>,
}

/// What [`parse`] understands.
pub const USAGE: &str =
    "usage: casemate-helper --state-dir DIR --manager UID [--range BASE:COUNT] [--notify S] | --steps";

/// Reads the arguments after the program's name.
pub fn parse(args: impl Iterator<Item = OsString>) -> Option<Command> {
    let (mut state_dir, mut manager, mut range, mut notify) = (None, None, None, None);
    let mut args = args.map(OsString::into_string);
    while let Some(key) = args.next() {
        let key = key.ok()?;
        if key == "--steps" {
            return Some(Command::Steps);
        }
        let value = args.next()?.ok()?;
        match key.as_str() {
            "--state-dir" => state_dir = Some(PathBuf::from(value)),
            "--manager" => manager = Some(value.parse().ok()?),
            "--notify" => notify = Some(value.parse().ok()?),
            "--range" => {
                let (base, count) = value.split_once(':')?;
                range = Some((base.parse().ok()?, count.parse().ok()?));
            }
            _ => return None,
        }
    }
    let settings = Settings { state_dir: state_dir?, manager: manager?, range, notify };
    settings.state_dir.is_absolute().then_some(Command::Serve(settings))
}
