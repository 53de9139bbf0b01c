//! `casemate`: see the library.
fn main() -> std::process::ExitCode {
    casemate_manager::cli::main()
}
