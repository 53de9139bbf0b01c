//! The reaping pid 1.
fn main() -> std::process::ExitCode {
    casemate_init::main()
}
