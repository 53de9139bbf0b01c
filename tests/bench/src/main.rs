//! `casemate-bench`: all of it is in the library.

fn main() -> std::process::ExitCode {
    casemate_bench::main()
}
