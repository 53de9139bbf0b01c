//! `casemate check`.

use super::file::{print_findings, print_warnings};
use super::{Code, Error, print};
use casemate_engine::file::{InvalidSpecFile, SpecFile, waivers};
use casemate_engine::plan;
use casemate_spec::Finding;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLE: &str = "Example:\n  casemate check casemate.toml && echo valid";

/// Check a file without starting anything
///
/// Prints the waivers of the file, then every error and warning with its rule, its line and a remedy. A seccomp profile that the file
/// names is checked too, its digest included. Bind sources and devices that are missing on this machine are printed as notes, and the
/// file stays valid: it can be written on one machine for another. Exits with 0 if the file has no errors, else with 3.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Check {
    /// The file that describes the containers (TOML)
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    file: String,
    ok: bool,
    waivers: Vec<Waiver<'a>>,
    findings: &'a [Finding],
    /// Notes about bind sources and devices that are missing on this machine.
    not_here: Vec<String>,
}

#[derive(Serialize)]
struct Waiver<'a> {
    rule: &'static str,
    container: &'a str,
    reason: &'a str,
    expires: String,
}

impl<'a> Waiver<'a> {
    fn of(waiver: &'a casemate_spec::Waiver) -> Self {
        Self {
            rule: waiver.rule.id(),
            container: waiver.container.as_str(),
            reason: &waiver.reason,
            expires: waiver.expires.to_string(),
        }
    }
}

impl Check {
    pub(super) fn run(&self) -> Result<ExitCode, Error> {
        let read = SpecFile::read(&self.file, None)?;
        let mut not_here = Vec::new();
        if let Ok(file) = &read {
            let directory = self.file.parent().unwrap_or(Path::new("."));
            file.spec.containers.iter().try_for_each(|container| plan::check_profile(container, directory))?;
            not_here = file.spec.containers.iter().flat_map(plan::missing_on_host).collect();
        }
        if self.json {
            return self.report(&read, not_here);
        }
        let file = read.map_err(|invalid| print_findings(&invalid))?;
        print_warnings(&file);
        not_here.iter().for_each(|missing| print::note(missing));
        let containers = file.spec.containers.len();
        let waived = waivers(&file.spec).len();
        print::text(&format!("{}: valid: containers: {containers}, waivers: {waived}\n", self.file.display()))?;
        Ok(ExitCode::SUCCESS)
    }

    fn report(&self, read: &Result<SpecFile, InvalidSpecFile>, not_here: Vec<String>) -> Result<ExitCode, Error> {
        let (ok, waivers, findings) = match read {
            Ok(file) => (true, file.spec.waivers.as_slice(), file.warnings.as_slice()),
            Err(invalid) => (false, [].as_slice(), invalid.findings.as_slice()),
        };
        let waivers = waivers.iter().map(Waiver::of).collect();
        print::json(&Report { file: self.file.display().to_string(), ok, waivers, findings, not_here })?;
        Ok(if ok { ExitCode::SUCCESS } else { Code::Spec.into() })
    }
}
