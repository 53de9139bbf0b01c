//! The one file, read with the caller's own rights: its text, what it means, and what `check` finds in it.

use crate::revisions;
use casemate_error::{Code, Error, escaped};
use casemate_spec::{self as spec, Date, Finding, Severity, Spec};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A file without errors.
#[derive(Debug)]
pub struct SpecFile {
    /// Its path.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Its meaning.
    pub spec: Spec,
    /// Warnings of `check`.
    pub warnings: Vec<Finding>,
}

/// A file with errors.
#[derive(Debug)]
pub struct InvalidSpecFile {
    /// Its path.
    pub path: PathBuf,
    /// Its text; empty where it is no text.
    pub text: String,
    /// Errors and warnings of `check`, in the order of the text.
    pub findings: Vec<Finding>,
}

impl SpecFile {
    /// Reads and checks the file as of today. `applied`: the state directory, where a file that was applied before lies; such a
    /// file stays valid when one of its waivers has expired since, so that a host boots again, and a warning says so.
    pub fn read(path: &Path, applied: Option<&Path>) -> Result<Result<Self, InvalidSpecFile>, Error> {
        Ok(Self::check(path, &read(path)?, applied))
    }

    /// The file that this state directory has as applied last, which is what runs, whatever has become of the file since; `None`:
    /// none was applied. `path` is what messages call it.
    pub fn applied(path: &Path, state: &Path) -> Result<Option<Result<Self, InvalidSpecFile>>, Error> {
        let text = revisions::current(state)
            .map_err(|error| Error::new(Code::Failed, state.join("revisions/current").display(), "read", error))?;
        Ok(text.map(|text| Self::check(path, text.as_bytes(), Some(state))))
    }

    /// Checks a text as what this file is to become.
    pub fn of_text(path: &Path, text: &str) -> Result<Self, InvalidSpecFile> {
        Self::check(path, text.as_bytes(), None)
    }

    fn check(path: &Path, bytes: &[u8], applied: Option<&Path>) -> Result<Self, InvalidSpecFile> {
        let path = path.to_owned();
        let text = match spec::text(bytes) {
            Ok(text) => text.to_owned(),
            Err(findings) => return Err(InvalidSpecFile { path, text: String::new(), findings }),
        };
        let findings = match spec::parse(&text, date(SystemTime::now())) {
            Ok((spec, warnings)) => return Ok(Self { path, text, spec, warnings }),
            Err(findings) => findings,
        };
        let boots = applied.and_then(|state| check_as_of_first_apply(state, &text, &findings));
        match boots {
            Some((spec, mut warnings)) => {
                warnings.extend(findings.into_iter().map(|finding| Finding { severity: Severity::Warning, ..finding }));
                Ok(Self { path, text, spec, warnings })
            }
            None => Err(InvalidSpecFile { path, text, findings }),
        }
    }

    /// Waivers and warnings, one line each, for a log.
    pub fn notes(&self) -> Vec<String> {
        let warnings = self.warnings.iter().map(|finding| one_line(&self.path, finding).to_string());
        waivers(&self.spec).into_iter().chain(warnings).collect()
    }

    /// The directory of the file, where relative paths in it start.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

impl InvalidSpecFile {
    /// Every error as one line, for a log.
    pub fn errors(&self) -> Vec<Error> {
        let errors = self.findings.iter().filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| one_line(&self.path, finding)).collect()
    }
}

/// The rules that a file weakens, one line each.
pub fn waivers(spec: &Spec) -> Vec<String> {
    let line = |waiver: &spec::Waiver| {
        let rule = waiver.rule.id();
        let container = &waiver.container;
        format!("WAIVER {rule} ({container}) until {}: {}", waiver.expires, escaped(&waiver.reason))
    };
    spec.waivers.iter().map(line).collect()
}

/// A finding without its piece of text.
fn one_line(path: &Path, finding: &Finding) -> Error {
    let place = format!("{}:{}:{}", path.display(), finding.place.line, finding.place.column);
    let error = Error::new(Code::Spec, place, finding.rule, &finding.message);
    match &finding.help {
        Some(help) => error.remedy(help),
        None => error,
    }
}

/// The bytes of a file, as many as one may have and one more.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::new(Code::Usage, path.display(), "read", error);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(spec::MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn date(time: SystemTime) -> Date {
    Date::from_unix(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// The file as of the day when it was first applied, if all that is wrong with it now is the time.
fn check_as_of_first_apply(state: &Path, text: &str, findings: &[Finding]) -> Option<(Spec, Vec<Finding>)> {
    let mut errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    let only_time = errors.all(|finding| finding.rule == spec::WAIVER_EXPIRED);
    let kept = only_time.then(|| revisions::find(state, &revisions::revision(text)))??;
    let first_applied = std::fs::metadata(kept).and_then(|kept| kept.modified()).ok()?;
    spec::parse(text, date(first_applied)).ok()
}
