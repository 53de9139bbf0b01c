//! casemate-init: see the library.
#![forbid(unsafe_code)]
fn main() -> std::process::ExitCode {
    casemate_init::main()
}
