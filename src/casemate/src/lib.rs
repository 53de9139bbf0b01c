//! The command line: one verb a file, each a `clap::Args` with a `run`.
#![forbid(unsafe_code)]

mod ask;
mod bundle;
mod check;
mod file;
mod image;
mod logs;
mod pins;
mod ps;
mod pull;
mod service;
mod store;
mod up;

pub use casemate_error::{Code, Error, escaped};

use casemate_engine::launch::{self, Directories, Session, stages};
use casemate_engine::prepare::read_only_stores;
use casemate_spec::StorePolicy;
use clap::Parser;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

const ABOUT: &str = "Runs the containers that one TOML file describes, confined, as nobody special.";
const EXIT_CODES: &str = "Exit codes: 0 done; 1 a container or the work failed; 2 wrong command line; \
    3 the file is wrong; 4 bytes are not what was pinned; 5 this host cannot apply a control.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "casemate", version, about = ABOUT, after_help = EXIT_CODES, max_term_width = 100)]
struct Line {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// Where images, layers, volumes, revisions and logs are kept
    /// [default: /var/lib/casemate; as an ordinary user $XDG_DATA_HOME/casemate]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Instance")]
    state_dir: Option<PathBuf>,
    /// Where the sockets of this instance are
    /// [default: /run/casemate; as an ordinary user $XDG_RUNTIME_DIR/casemate]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Instance")]
    run_dir: Option<PathBuf>,
}

impl Global {
    /// The instance's directories: as given, else the defaults.
    pub fn directories(&self) -> Result<Directories, Error> {
        let root = rustix::process::geteuid().is_root();
        let defaults = Directories::defaults(root, |name| std::env::var_os(name).map(PathBuf::from));
        let pick = |given: &Option<PathBuf>, default: Option<PathBuf>, option: &str| {
            given.clone().or(default).ok_or_else(|| {
                Error::new(Code::Usage, option, "find the default", "HOME or XDG_RUNTIME_DIR is not set")
                    .remedy(format!("give {option} DIR"))
            })
        };
        let state = pick(&self.state_dir, defaults.as_ref().map(|d| d.state.clone()), "--state-dir")?;
        let run = pick(&self.run_dir, defaults.map(|d| d.run), "--run-dir")?;
        let absolute = |path: PathBuf, option| {
            std::path::absolute(path).map_err(|error| Error::new(Code::Usage, option, "make absolute", error))
        };
        Ok(Directories::new(absolute(state, "--state-dir")?, absolute(run, "--run-dir")?))
    }
}

impl Global {
    /// As [`Self::directories`], with the stores that a file lends this instance.
    pub fn directories_of(&self, policy: &StorePolicy) -> Result<Directories, Error> {
        Ok(Directories { read_only_stores: Some(read_only_stores(policy)), ..self.directories()? })
    }
}

/// Has an instance look into the stores of an applied file, for a verb that is given none: those that are in order.
fn look_into(session: &mut Session, policy: &StorePolicy) {
    for error in session.add_read_only_stores(read_only_stores(policy)) {
        let _ = writeln!(std::io::stderr(), "casemate: not looked into: {error}");
    }
}

impl Global {
    /// The same options for this program once more.
    pub fn arguments(&self) -> Vec<OsString> {
        let option = |name: &str, value: &Option<PathBuf>| -> Vec<OsString> {
            value.iter().flat_map(|value| [OsString::from(name), value.clone().into_os_string()]).collect()
        };
        [option("--state-dir", &self.state_dir), option("--run-dir", &self.run_dir)].concat()
    }
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Check(check::Check),
    Up(up::Up),
    /// Stop all containers in reverse order, and the manager with them
    Down,
    /// Have casemate.service read its file again, and wait until what is new in it is up
    ///
    /// What is the same in both files is left alone. A file that is wrong changes nothing, and the errors are shown.
    Reload,
    Ps(ps::Ps),
    Logs(logs::Logs),
    /// Stop containers: their signal, their grace period, then SIGKILL
    ///
    /// A stopped container stays stopped until `casemate start` or the next `casemate up`.
    #[command(after_help = "Example:\n  casemate stop web")]
    Stop(ask::Names),
    /// Start containers that were stopped or have ended
    #[command(after_help = "Example:\n  casemate start web")]
    Start(ask::Names),
    /// Stop containers and start them again
    #[command(after_help = "Example:\n  casemate restart web db")]
    Restart(ask::Names),
    /// Wait until containers have ended, and show their exit codes
    ///
    /// Exits with 0 if all ended with 0, else with 1.
    #[command(after_help = "Example:\n  casemate wait migrate && echo migrated")]
    Wait(ask::Names),
    Image(image::Image),
    Store(store::Store),
    Pull(pull::Pull),
    Lock(pins::Lock),
    Update(pins::Update),
    Bundle(bundle::Bundle),
    Supervise(service::Supervise),
    #[command(hide = true)]
    Helper(service::Helper),
    /// Show the version, and that of the manager that runs
    Version,
}

/// The program: its exit code is the process's.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let stage = match name.to_str() {
        Some(stages::helper::NAME) => Some(stages::helper::run(arguments)),
        Some(stages::fetch::NAME) => Some(stages::fetch::run(arguments)),
        _ => None,
    };
    if let Some(error) = stage {
        let _ = writeln!(std::io::stderr(), "casemate-launch: {error}");
        return Code::Failed.into();
    }
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // A closed standard output or error is nobody's fault here.
            let _ = error.print();
            return if error.use_stderr() { Code::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    let outcome = run(&line);
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "casemate: {error}");
        error.code().into()
    })
}

/// The descriptors that these arguments name, as a shell does for `<(COMMAND)`: those the caller means.
fn named(arguments: impl Iterator<Item = OsString>) -> Vec<i32> {
    let number = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    let numbers = |argument: OsString| -> Vec<i32> {
        let argument = argument.to_string_lossy();
        let rests = ["/dev/fd/", "/proc/self/fd/"].map(|directory| argument.split(directory).skip(1));
        rests.into_iter().flatten().filter_map(number).collect()
    };
    arguments.flat_map(numbers).collect()
}

fn run(Line { global, verb }: &Line) -> Result<ExitCode, Error> {
    // Many verbs go on as another user and read what others wrote. Only the helper takes a socket that its starter opened.
    if !matches!(verb, Verb::Helper(_)) {
        launch::close_inherited(&named(std::env::args_os().skip(1)))?;
    }
    match verb {
        Verb::Check(verb) => verb.run(),
        Verb::Up(verb) => verb.run(global),
        Verb::Down => ask::down(global),
        Verb::Reload => ask::reload(global),
        Verb::Ps(verb) => verb.run(global),
        Verb::Logs(verb) => verb.run(global),
        Verb::Stop(names) => names.stop(global),
        Verb::Start(names) => names.start(global),
        Verb::Restart(names) => names.restart(global),
        Verb::Wait(names) => names.wait(global),
        Verb::Lock(verb) => verb.run(global),
        Verb::Update(verb) => verb.run(global),
        Verb::Pull(verb) => verb.run(global).map(|()| ExitCode::SUCCESS),
        Verb::Image(verb) => verb.run(global).map(|()| ExitCode::SUCCESS),
        Verb::Bundle(verb) => verb.run(global),
        Verb::Store(verb) => verb.run(global).map(|()| ExitCode::SUCCESS),
        Verb::Supervise(verb) => verb.run(global),
        Verb::Helper(verb) => verb.run(global),
        Verb::Version => ask::version(global),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_an_argument_names_is_meant() {
        let of = |words: &[&str]| named(words.iter().map(OsString::from));
        assert_eq!(of(&["up", "/dev/fd/63"]), [63]);
        assert_eq!(of(&["--output=/proc/self/fd/4", "a=/dev/fd/5/x", "/dev/fd/5"]), [4, 5, 5]);
        assert!(of(&["up", "/dev/fd/", "/dev/fd/x", "fd/3", "/proc/1/fd/3", "/dev/fd/99999999999"]).is_empty());
    }
}
