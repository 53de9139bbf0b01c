//! Reading the file for a verb: prints its findings with line and caret, and its waivers.

use super::{Code, Error};
use casemate_engine::file::{InvalidSpecFile, SpecFile, waivers};
use casemate_spec::{self as spec, Finding, Severity};
use std::io::{IsTerminal, Write};
use std::path::Path;

/// Reads and checks a file. Prints the findings if it has errors. `applied`: as for [`SpecFile::read`].
pub(super) fn read(path: &Path, applied: Option<&Path>) -> Result<SpecFile, Error> {
    SpecFile::read(path, applied)?.map_err(|invalid| print_findings(&invalid))
}

/// Prints the waivers of the file, then its warnings.
pub(super) fn print_warnings(file: &SpecFile) {
    let mut error = std::io::stderr();
    for waiver in waivers(&file.spec) {
        let _ = writeln!(error, "casemate: {waiver}");
    }
    let _ = error.write_all(rendered(&file.path, &file.text, &file.warnings).as_bytes());
}

/// Prints every finding. Returns the error that ends the verb.
pub(super) fn print_findings(invalid: &InvalidSpecFile) -> Error {
    let _ = std::io::stderr().write_all(rendered(&invalid.path, &invalid.text, &invalid.findings).as_bytes());
    let count = invalid.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let errors = if count == 1 { "1 error".to_owned() } else { format!("{count} errors") };
    Error::new(Code::Spec, invalid.path.display(), "check", errors)
}

/// Prints all errors but the last one. Returns that one: the verb ends with it.
pub(super) fn print_errors(path: &Path, mut errors: Vec<Error>) -> Error {
    let last = errors.pop();
    for error in errors {
        let _ = writeln!(std::io::stderr(), "casemate: {error}");
    }
    last.unwrap_or_else(|| Error::new(Code::Failed, path.display(), "plan", "refused"))
}

fn rendered(path: &Path, text: &str, findings: &[Finding]) -> String {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    spec::render(&path.to_string_lossy(), text, findings, colour)
}
