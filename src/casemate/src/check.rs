//! `casemate check`.

use super::file::{print_findings, print_warnings};
use super::image::text::{note, print, print_json};
use super::{Code, Error};
use casemate_engine::file::{InvalidSpecFile, SpecFile, waivers};
use casemate_engine::plan;
use casemate_spec::Finding;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLE: &str = "Example:\n  casemate check casemate.toml && echo good";

/// Judge a file without starting anything
///
/// Shows all errors at once, each with its rule, its line and what to do. What the file waives comes first. A seccomp profile
/// that the file names is proven and judged too. Needs no host: it works on a machine that runs nothing, and what only that
/// machine lacks, a bind source or a device, is told without making the file a bad one.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Check {
    /// The file
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
    /// What this machine lacks; a host that has it is not concerned.
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
        not_here.iter().for_each(|lacking| note(lacking));
        let (containers, waived) = (file.spec.containers.len(), waivers(&file.spec).len());
        print(&format!("{}: good: containers: {containers}, waivers: {waived}\n", self.file.display()))?;
        Ok(ExitCode::SUCCESS)
    }

    fn report(&self, read: &Result<SpecFile, InvalidSpecFile>, not_here: Vec<String>) -> Result<ExitCode, Error> {
        let (ok, waivers, findings) = match read {
            Ok(file) => (true, file.spec.waivers.as_slice(), file.warnings.as_slice()),
            Err(invalid) => (false, [].as_slice(), invalid.findings.as_slice()),
        };
        let waivers = waivers.iter().map(Waiver::of).collect();
        print_json(&Report { file: self.file.display().to_string(), ok, waivers, findings, not_here })?;
        Ok(if ok { ExitCode::SUCCESS } else { Code::Spec.into() })
    }
}
