//! The helper.
#![forbid(unsafe_code)]
fn main() -> std::process::ExitCode {
    casemate_helper::main()
}
