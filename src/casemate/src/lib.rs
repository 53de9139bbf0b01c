//! The command line: one verb a file, each a `clap::Args` with a `run`.
#![forbid(unsafe_code)]

mod bundle;
mod check;
mod control;
mod file;
mod image;
mod keys;
mod logs;
mod pins;
mod print;
mod progress;
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

const ABOUT: &str = "Runs the containers that one TOML file describes, confined, without root privileges.";
const EXIT_CODES: &str = "\
Exit codes: 0 success; 1 a container or the operation failed; 2 wrong command line; 3 the file has errors; \
    4 content does not match its pinned digest; 5 this host cannot enforce a protection.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "casemate", version, about = ABOUT, after_help = EXIT_CODES, max_term_width = 100)]
struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of every verb.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// Directory of images, layers, volumes, applied files and logs
    /// [default: /var/lib/casemate; as an ordinary user $XDG_DATA_HOME/casemate]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Instance")]
    state_dir: Option<PathBuf>,
    /// Directory of the control socket and of locks
    /// [default: /run/casemate; as an ordinary user $XDG_RUNTIME_DIR/casemate]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Instance")]
    run_dir: Option<PathBuf>,
}

impl Global {
    /// The instance's directories: as given on the command line, else the defaults.
    pub fn directories(&self) -> Result<Directories, Error> {
        let root = rustix::process::geteuid().is_root();
        let defaults = Directories::defaults(root, |name| std::env::var_os(name).map(PathBuf::from));
        let choose = |given: &Option<PathBuf>, default: Option<PathBuf>, option: &str| {
            given.clone().or(default).ok_or_else(|| {
                Error::new(Code::Usage, option, "find the default directory", "HOME or XDG_RUNTIME_DIR is not set")
                    .remedy(format!("give {option} DIR"))
            })
        };
        let state = choose(&self.state_dir, defaults.as_ref().map(|d| d.state.clone()), "--state-dir")?;
        let run = choose(&self.run_dir, defaults.map(|d| d.run), "--run-dir")?;
        let absolute = |path: PathBuf, option| {
            std::path::absolute(path).map_err(|error| Error::new(Code::Usage, option, "make the path absolute", error))
        };
        Ok(Directories::new(absolute(state, "--state-dir")?, absolute(run, "--run-dir")?))
    }

    /// As [`Self::directories`], with the read-only stores of a file (`store.preload`).
    pub fn directories_with_stores(&self, policy: &StorePolicy) -> Result<Directories, Error> {
        Ok(Directories { read_only_stores: Some(read_only_stores(policy)), ..self.directories()? })
    }

    /// These options as arguments for a child process of this program.
    pub fn arguments(&self) -> Vec<OsString> {
        let option = |name: &str, value: &Option<PathBuf>| -> Vec<OsString> {
            value.iter().flat_map(|value| [OsString::from(name), value.clone().into_os_string()]).collect()
        };
        [option("--state-dir", &self.state_dir), option("--run-dir", &self.run_dir)].concat()
    }
}

/// Adds the read-only stores of the applied file, for a verb that reads no file itself. A store that fails its check is left out with
/// a note.
fn add_read_only_stores(session: &mut Session, policy: &StorePolicy) {
    for error in session.add_read_only_stores(read_only_stores(policy)) {
        let _ = writeln!(std::io::stderr(), "casemate: read-only store left out: {error}");
    }
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Check(check::Check),
    Keys(keys::Keys),
    Up(up::Up),
    /// Stop all containers and the manager
    ///
    /// Stops the containers in reverse file order, each with its stop signal and its grace period, then SIGKILL. Returns when all have
    /// ended. Images, volumes and logs are kept.
    Down,
    /// Apply a changed file to the running service
    ///
    /// casemate.service reads its file again: new containers are started, changed ones are restarted, removed ones are stopped, all
    /// others keep running. A file with errors changes nothing, and its errors are printed. Returns when all containers of the file are
    /// running or completed. After `casemate up`, end that command and start it again instead.
    #[command(after_help = "Example:\n  casemate check /etc/casemate/casemate.toml && casemate reload")]
    Reload,
    Ps(ps::Ps),
    Logs(logs::Logs),
    /// Stop containers
    ///
    /// Sends each container its stop signal (`stop_signal`: SIGTERM by default), waits for its grace period (`stop_grace_period`: 10
    /// seconds by default), then sends SIGKILL. Returns when all have ended. A stopped container stays stopped until `casemate start`
    /// or the next `casemate up`; restarting the manager does not start it.
    #[command(after_help = "Example:\n  casemate stop web")]
    Stop(control::Names),
    /// Start containers that are stopped or have ended
    ///
    /// Returns when they are running or completed. Only containers of the applied file can be started.
    #[command(after_help = "Example:\n  casemate start web")]
    Start(control::Names),
    /// Stop containers and start them again
    ///
    /// Stops them as `casemate stop` does. Returns when they are running or completed again. A changed file is not read: see `casemate
    /// reload`.
    #[command(after_help = "Example:\n  casemate restart web db")]
    Restart(control::Names),
    /// Wait until containers have ended, and print their exit codes
    ///
    /// Prints one line per container, name and exit code; `-` for a container that never ran. Exits with 0 if all exit codes are 0,
    /// else with 1.
    #[command(after_help = "Example:\n  casemate wait migrate && echo migrated")]
    Wait(control::Names),
    Image(image::Image),
    Store(store::Store),
    Pull(pull::Pull),
    Lock(pins::Lock),
    Update(pins::Update),
    Bundle(bundle::Bundle),
    Supervise(service::Supervise),
    #[command(hide = true)]
    Helper(service::Helper),
    /// Print the version of this program and of the running manager
    Version,
}

/// Runs the program; returns its exit code. Under the name of a stage it runs that stage of a launch instead.
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
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => {
            // Printing fails if the stream is closed; the exit code remains.
            let _ = error.print();
            return if error.use_stderr() { Code::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    let outcome = run(&command_line);
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "casemate: {error}");
        error.code().into()
    })
}

/// The descriptors that arguments name as /dev/fd/N or /proc/self/fd/N, as a shell does for `<(COMMAND)`.
fn descriptors_in(arguments: impl Iterator<Item = OsString>) -> Vec<i32> {
    let number = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    let numbers = |argument: OsString| -> Vec<i32> {
        let argument = argument.to_string_lossy();
        let rests = ["/dev/fd/", "/proc/self/fd/"].map(|directory| argument.split(directory).skip(1));
        rests.into_iter().flatten().filter_map(number).collect()
    };
    arguments.flat_map(numbers).collect()
}

fn run(CommandLine { global, verb }: &CommandLine) -> Result<ExitCode, Error> {
    // Many verbs change to another user and read untrusted data: inherited descriptors must not survive that. `helper` needs the socket
    // that systemd passes.
    if !matches!(verb, Verb::Helper(_)) {
        launch::close_inherited(&descriptors_in(std::env::args_os().skip(1)))?;
    }
    match verb {
        Verb::Check(verb) => verb.run(),
        Verb::Keys(verb) => verb.run(),
        Verb::Up(verb) => verb.run(global),
        Verb::Down => control::down(global),
        Verb::Reload => control::reload(global),
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
        Verb::Version => control::version(global),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_in_arguments_are_found() {
        let of = |arguments: &[&str]| descriptors_in(arguments.iter().map(OsString::from));
        assert_eq!(of(&["up", "/dev/fd/63"]), [63]);
        assert_eq!(of(&["--output=/proc/self/fd/4", "a=/dev/fd/5/x", "/dev/fd/5"]), [4, 5, 5]);
        assert!(of(&["up", "/dev/fd/", "/dev/fd/x", "fd/3", "/proc/1/fd/3", "/dev/fd/99999999999"]).is_empty());
    }
}
