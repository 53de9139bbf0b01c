//! casemate-helper: makes namespaces, mounts, cgroups and confinement, and is the parent of every container.
//!
//! Two processes. The [`listener`] stays in the host's namespaces without any capability: it accepts connections, checks the
//! peer's user, and passes them on. The other one is root of the [`outer`] user namespace (A) and of nothing else: it serves a
//! closed table of requests ([`serve`]). Containers are made by casemate-container, layers by `casemate-unpack` ([`unpack`]).
#![forbid(unsafe_code)]

mod args;
mod container;
mod context;
mod delegation;
mod entered;
mod filters;
mod layers;
mod listener;
mod outer;
mod serve;
mod unpack;

use casemate_confine::Error;
use std::io::Write;
use std::process::ExitCode;

/// The program.
pub fn main() -> ExitCode {
    let result = match args::parse(std::env::args_os().skip(1)) {
        Some(args::Command::Steps) => casemate_container::print_steps(),
        Some(args::Command::Serve(settings)) => listener::run(settings),
        None => Err(Error::refused(args::USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&error);
            ExitCode::FAILURE
        }
    }
}

fn log(error: &Error) {
    // When standard error is gone, there is no other place to report to.
    let _ = std::io::stderr().write_all(format!("casemate-helper: {error}\n").as_bytes());
}
