//! casemate.toml, read with the caller's rights: its text, its spec, and the findings of `check`.

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
    /// The parsed text.
    pub spec: Spec,
    /// Warnings of `check`.
    pub warnings: Vec<Finding>,
}

/// A file with errors.
#[derive(Debug)]
pub struct InvalidSpecFile {
    /// Its path.
    pub path: PathBuf,
    /// Its text; empty if it is not UTF-8.
    pub text: String,
    /// Errors and warnings of `check`, in file order.
    pub findings: Vec<Finding>,
}

impl SpecFile {
    /// Reads and checks the file as of today. `applied`: the state directory. A file that was applied before stays valid, with a warning,
    /// when a waiver has expired since: the host must boot again.
    pub fn read(path: &Path, applied: Option<&Path>) -> Result<Result<Self, InvalidSpecFile>, Error> {
        Ok(Self::check(path, &read(path)?, applied))
    }

    /// The file that was applied last, which is what runs even if the file has changed since; `None`: none was applied. `path` is for
    /// messages.
    pub fn applied(path: &Path, state: &Path) -> Result<Option<Result<Self, InvalidSpecFile>>, Error> {
        let text = revisions::current(state)
            .map_err(|error| Error::new(Code::Failed, state.join("revisions/current").display(), "read", error))?;
        Ok(text.map(|text| Self::check(path, text.as_bytes(), Some(state))))
    }

    /// Checks a text as the future content of this file.
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

    /// Waivers and warnings, one line each, for the log.
    pub fn notes(&self) -> Vec<String> {
        let warnings = self.warnings.iter().map(|finding| one_line(&self.path, finding).to_string());
        waivers(&self.spec).into_iter().chain(warnings).collect()
    }

    /// The directory of the file, to which its paths are relative.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

impl InvalidSpecFile {
    /// Every error as one line, for the log.
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

/// A finding without the quoted text.
fn one_line(path: &Path, finding: &Finding) -> Error {
    let position = format!("{}:{}:{}", path.display(), finding.position.line, finding.position.column);
    let error = Error::new(Code::Spec, position, finding.rule, &finding.message);
    match &finding.help {
        Some(help) => error.remedy(help),
        None => error,
    }
}

/// The bytes of a file, up to one more than the size limit.
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

/// The spec as of the day when the file was first applied, if expired waivers are its only errors.
fn check_as_of_first_apply(state: &Path, text: &str, findings: &[Finding]) -> Option<(Spec, Vec<Finding>)> {
    let mut errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    let only_expired = errors.all(|finding| finding.rule == spec::WAIVER_EXPIRED);
    let kept = only_expired.then(|| revisions::find(state, &revisions::revision(text)))??;
    let first_applied = std::fs::metadata(kept).and_then(|kept| kept.modified()).ok()?;
    spec::parse(text, date(first_applied)).ok()
}
