//! The program is the library.
#![forbid(unsafe_code)]
fn main() -> std::process::ExitCode {
    casemate_unpack::run(std::env::args_os())
}
