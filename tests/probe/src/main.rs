//! `casemate-probe`: see the library.
use std::process::ExitCode;

fn main() -> ExitCode {
    casemate_probe::main(std::env::args_os())
}
