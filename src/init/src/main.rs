//! The reaping pid 1.
#![forbid(unsafe_code)]
fn main() -> std::process::ExitCode {
    casemate_init::main()
}
