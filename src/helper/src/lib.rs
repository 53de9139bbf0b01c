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
mod fault;
mod filters;
mod layers;
mod realm;
mod room;
mod serve;
mod unpack;
mod volumes;

pub use check::check;

use std::process::ExitCode;

/// The program.
pub fn main() -> ExitCode {
    let result = match args::parse(std::env::args_os().skip(1)) {
        Ok(args::Command::Steps) => room::print_steps(),
        Ok(args::Command::Serve(settings)) => doorman::run(settings),
        Err(message) => Err(message),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nobody is left to tell when standard error is gone.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("casemate-helper: {message}\n").as_bytes(),
            );
            ExitCode::FAILURE
        }
    }
}
