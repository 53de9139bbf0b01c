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
    /// Seconds between two watchdog pings on descriptor 4; none: no watchdog.
    pub notify: Option<i64>,
}

/// What [`parse`] understands; `-` stands for none.
pub const USAGE: &str =
    "usage: casemate-helper --state-dir DIR --manager UID --range BASE:COUNT|- --notify SECONDS|- | --steps";

/// Reads the arguments after the program's name: all of them, in this order.
pub fn parse(args: impl Iterator<Item = OsString>) -> Option<Command> {
    let args: Vec<String> = args.map(OsString::into_string).collect::<Result<_, _>>().ok()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let &["--state-dir", state_dir, "--manager", manager, "--range", range, "--notify", notify] = args.as_slice()
    else {
        return (args == ["--steps"]).then_some(Command::Steps);
    };
    let range = match range.split_once(':') {
        Some((base, count)) => Some((base.parse().ok()?, count.parse().ok()?)),
        None => (range == "-").then_some(None)?,
    };
    let notify = if notify == "-" { None } else { Some(notify.parse().ok()?) };
    let settings = Settings { state_dir: PathBuf::from(state_dir), manager: manager.parse().ok()?, range, notify };
    settings.state_dir.is_absolute().then_some(Command::Serve(settings))
}
