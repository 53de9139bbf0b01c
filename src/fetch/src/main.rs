//! The program is the library.
#![forbid(unsafe_code)]
fn main() -> std::process::ExitCode {
    casemate_fetch::run()
}
