//! A static payload that reports what it can see and do, and misbehaves on request.
//!
//! It is no part of the product. It needs no file to run, asks the kernel instead of believing its surroundings, and
//! survives whatever it is refused: a question without an answer is an answer. The tests read its report through the
//! types of this library.

pub mod answer;
pub mod report;
pub mod table;
pub mod trial;

mod misbehave;
mod process;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: casemate-probe COMMAND
  report [sleep]          the sandbox as seen from inside, as JSON; then sleep
  table                   the same for a person, 80 columns
  try CALL                the answer of one system call of the report
  true                    ends with 0
  misbehave forkbomb      fork without end
            memory        use memory without end
            memory-beside so does a child, and this one says so if it survives that
            spin SECONDS  use all the CPU time there is, and say how much it was
            ignore-term   ignore SIGTERM, SIGINT and SIGHUP
            flood [BYTES] write to stdout without end, or so many bytes
            zombies N     leave N orphans behind, then say how many zombies there are, each second
            exit N        end with N
            sleep [SECONDS]
            write DIR MIB write a file to the disk, and say how long it took
            fill-disk DIR, fill-inodes DIR, fds
            mark DIR      make a file there
            find PATH     say whether it is there
            lines N [MICROSECONDS]   numbered lines, by turns on stdout and stderr, with a pause after each
            say LINE...   these lines on stdout
            where         say what the working directory is
            swap A B      exchange two names without end
            connect NAME... try to connect to abstract sockets";

/// The whole program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> = arguments.skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["true"] => ExitCode::SUCCESS,
        ["report"] => print(&serde_json::to_string_pretty(&report::gather()).unwrap_or_default()),
        ["report", "sleep"] => {
            print(&serde_json::to_string_pretty(&report::gather()).unwrap_or_default());
            misbehave::run(&["sleep"]).unwrap_or(ExitCode::FAILURE)
        }
        ["table"] => print(&table::render(&report::gather())),
        ["try", call] => match trial::one(call) {
            Some(answer) => print(&answer),
            None => usage(),
        },
        ["misbehave", how @ ..] => misbehave::run(how).unwrap_or_else(usage),
        _ => usage(),
    }
}

fn print(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn usage() -> ExitCode {
    // stderr may be closed; the exit code remains.
    let _ = writeln!(std::io::stderr(), "{USAGE}");
    ExitCode::from(2)
}
