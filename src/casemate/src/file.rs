//! The one file, read with the caller's own rights: its text, what it means, and what is to be said about it.

use super::{Code, Error, escaped};
use casemate_engine::supervise::revisions;
use casemate_spec::{self as spec, Date, Finding, Severity, Spec};
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A file that is in order.
#[derive(Debug)]
pub struct File {
    /// Where it lies.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
    /// What it means.
    pub spec: Spec,
    /// What is allowed and still worth a look.
    pub warnings: Vec<Finding>,
}

/// A file that is not in order.
#[derive(Debug)]
pub struct Faulty {
    /// Where it lies.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

impl File {
    /// Reads and judges the file as of today. `applied`: the state directory, where a file that was applied before lies; such a
    /// file stays good when one of its waivers has expired since, so that a host boots again, and a warning says so.
    pub fn read(path: &Path, applied: Option<&Path>) -> Result<Result<Self, Faulty>, Error> {
        Ok(Self::judge(path, &read(path)?, applied))
    }

    /// What this state directory has as applied last, which is what runs, whatever has become of the file since; none: nothing was,
    /// so nothing runs.
    pub fn applied(path: &Path, state: &Path) -> Result<Option<Result<Self, Faulty>>, Error> {
        let text = revisions::current(state)
            .map_err(|error| Error::new(Code::Failed, state.join("revisions/current").display(), "read", error))?;
        Ok(text.map(|text| Self::judge(path, text.as_bytes(), Some(state))))
    }

    fn judge(path: &Path, bytes: &[u8], applied: Option<&Path>) -> Result<Self, Faulty> {
        let path = path.to_owned();
        let text = match spec::text(bytes) {
            Ok(text) => text.to_owned(),
            Err(findings) => return Err(Faulty { path, text: String::new(), findings }),
        };
        let findings = match spec::parse(&text, today()) {
            Ok((spec, warnings)) => return Ok(Self { path, text, spec, warnings }),
            Err(findings) => findings,
        };
        let boots = applied.and_then(|state| judged_when_applied(state, &text, &findings));
        match boots {
            Some((spec, mut warnings)) => {
                warnings.extend(findings.into_iter().map(|finding| Finding { severity: Severity::Warning, ..finding }));
                Ok(Self { path, text, spec, warnings })
            }
            None => Err(Faulty { path, text, findings }),
        }
    }

    /// Judges a text as what this file is to become.
    pub fn of_text(path: &Path, text: &str) -> Result<Self, Faulty> {
        Self::judge(path, text.as_bytes(), None)
    }

    /// The same as [`Self::tell`] tells, one line each, for a log.
    pub fn words(&self) -> Vec<String> {
        let warnings = self.warnings.iter().map(|finding| line(&self.path, finding).to_string());
        waivers(&self.spec).into_iter().chain(warnings).collect()
    }

    /// Tells the warnings, and before them every rule that the file weakens.
    pub fn tell(&self) {
        let mut error = std::io::stderr();
        for waiver in waivers(&self.spec) {
            let _ = writeln!(error, "casemate: {waiver}");
        }
        let _ = error.write_all(rendered(&self.path, &self.text, &self.warnings).as_bytes());
    }
}

impl Faulty {
    /// Every error as one line, for a log.
    pub fn errors(self) -> Vec<Error> {
        let errors = self.findings.iter().filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| line(&self.path, finding)).collect()
    }

    /// Shows every finding, and gives the error that ends the verb.
    pub fn tell(self) -> Error {
        let _ = std::io::stderr().write_all(rendered(&self.path, &self.text, &self.findings).as_bytes());
        let count = self.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        let errors = if count == 1 { "1 error".to_owned() } else { format!("{count} errors") };
        Error::new(Code::Spec, self.path.display(), "check", errors)
    }
}

/// The rules that the file weakens, one line each.
pub fn waivers(spec: &Spec) -> Vec<String> {
    let line = |waiver: &spec::Waiver| {
        let (rule, container) = (waiver.rule.id(), &waiver.container);
        format!("waived: {rule} for {container} until {}: {}", waiver.expires, escaped(&waiver.reason))
    };
    spec.waivers.iter().map(line).collect()
}

/// A finding without its piece of text.
fn line(path: &Path, finding: &Finding) -> Error {
    let place = format!("{}:{}:{}", path.display(), finding.place.line, finding.place.column);
    let error = Error::new(Code::Spec, place, finding.rule, &finding.message);
    match &finding.help {
        Some(help) => error.remedy(help),
        None => error,
    }
}

fn rendered(path: &Path, text: &str, findings: &[Finding]) -> String {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    spec::render(&path.to_string_lossy(), text, findings, colour)
}

/// The bytes of a file, as many as one may have and one more.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::new(Code::Usage, path.display(), "read", error);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(spec::MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn today() -> Date {
    date(SystemTime::now())
}

fn date(time: SystemTime) -> Date {
    Date::from_unix(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// The file as it was judged on the day when it was first applied, if all that is wrong with it now is the time.
fn judged_when_applied(state: &Path, text: &str, findings: &[Finding]) -> Option<(Spec, Vec<Finding>)> {
    let errors = || findings.iter().filter(|finding| finding.severity == Severity::Error);
    let only_time = errors().all(|finding| finding.rule == "waiver-expired");
    let kept = only_time.then(|| revisions::find(state, &revisions::revision(text)))??;
    let then = std::fs::metadata(kept).and_then(|kept| kept.modified()).ok()?;
    spec::parse(text, date(then)).ok()
}
