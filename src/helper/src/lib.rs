//! casemate-helper: makes namespaces, mounts, cgroups and confinement, and is the parent of every container.
//!
//! Two processes. The [`doorman`] stays in the host's namespaces without any capability: it accepts connections, proves who
//! calls, and hands them inward. The [`realm`] is root of user namespace A and of nothing else: it serves a closed table of
//! requests. One container's way: [`serve`] → [`check`] → [`containers`] → [`room`], whose list of steps ends in execve.
#![forbid(unsafe_code)]

mod args;
mod cgroup;
mod check;
mod containers;
mod doorman;
mod filters;
mod layers;
mod outcome;
mod realm;
mod room;
mod serve;
mod unpack;
mod volumes;

pub use check::check;

use casemate_confine::Fault;
use std::io::Write;
use std::process::ExitCode;

/// The program.
pub fn main() -> ExitCode {
    let result = match args::parse(std::env::args_os().skip(1)) {
        Some(args::Command::Steps) => room::print_steps(),
        Some(args::Command::Serve(settings)) => doorman::run(settings),
        None => Err(Fault::refused(args::USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            log(&fault);
            ExitCode::FAILURE
        }
    }
}

fn log(fault: &Fault) {
    // Nobody is left to tell when standard error is gone.
    let _ = std::io::stderr().write_all(format!("casemate-helper: {fault}\n").as_bytes());
}
