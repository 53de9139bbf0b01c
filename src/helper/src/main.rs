//! The helper.
fn main() -> std::process::ExitCode {
    casemate_helper::main()
}
