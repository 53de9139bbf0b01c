//! The side of `make test-vm` that boots: see [`casemate_vm::host`].

use std::process::ExitCode;

fn main() -> ExitCode {
    casemate_vm::host::main(std::env::args().skip(1))
}
