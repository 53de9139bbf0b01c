//! `casemate store fsck`.

use crate::image::Work;
use crate::print;
use crate::progress::{self, waiting_for_store};
use crate::{Code, Error, Global, escaped};
use casemate_image::store::fsck::{self, Finding, ReadOnlyReport, Report, Severity};
use serde::Serialize;
use std::path::Path;

/// Check the store
///
/// Hashes every blob, verifies every image from its pin to its layers, and compares the files of every layer with its inventory, made
/// when it was unpacked. Read-only stores (`store.preload`) are checked too and never written. Exits with 4 if something is damaged or
/// missing and was not repaired. Leftovers are listed; they are harmless.
#[derive(Debug, clap::Args)]
pub struct Fsck {
    /// Remove damaged, partial and unused objects, and unpack layers again from intact blobs
    #[arg(long)]
    repair: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    images: usize,
    blobs: usize,
    layers: usize,
    sound: bool,
    findings: Vec<ShownFinding<'a>>,
    /// Read-only stores (`store.preload`): checked, and not repaired.
    preloaded: Vec<ShownStore<'a>>,
}

#[derive(Serialize)]
struct ShownStore<'a> {
    path: &'a Path,
    images: usize,
    blobs: usize,
}

#[derive(Serialize)]
struct ShownFinding<'a> {
    kind: &'static str,
    object: String,
    reason: &'a str,
    repaired: bool,
}

impl Fsck {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let mut work = Work::enter(global)?;
        let looked = self.look(&mut work);
        let report = work.leave(looked)?;
        let left: Vec<&Finding> = report.findings.iter().filter(|finding| is_open(finding)).collect();
        if self.json {
            print::json(&shown(&report, left.is_empty()))?;
        } else {
            print::text(&page(&report))?;
        }
        if left.is_empty() {
            return Ok(());
        }
        let error = Error::new(Code::Verification, "store", "check", format!("{} findings", left.len()));
        Err(if self.repair {
            error.remedy("`casemate pull` or `casemate image import` brings back what is missing")
        } else {
            error.remedy("`casemate store fsck --repair` removes what is damaged and unpacks intact blobs again")
        })
    }

    fn look(&self, work: &mut Work) -> Result<Report, Error> {
        work.confine()?;
        let writer = work.store.lock(waiting_for_store)?;
        Ok(fsck::fsck(&mut work.client, &writer, self.repair, progress::progress().as_mut())?)
    }
}

/// Whether the finding needs a repair.
fn is_open(finding: &Finding) -> bool {
    finding.severity != Severity::Leftover && !finding.repaired
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Damaged => "damaged",
        Severity::Missing => "missing",
        Severity::Leftover => "leftover",
    }
}

fn shown(report: &Report, sound: bool) -> Shown<'_> {
    let findings = report.findings.iter().map(|Finding { severity, object, reason, repaired }| ShownFinding {
        kind: word(*severity),
        object: object.to_string(),
        reason,
        repaired: *repaired,
    });
    let findings = findings.collect();
    let read_only = report.read_only.iter();
    let preloaded =
        read_only.map(|ReadOnlyReport { path, images, blobs }| ShownStore { path, images: *images, blobs: *blobs });
    let preloaded = preloaded.collect();
    Shown { images: report.images, blobs: report.blobs, layers: report.layers, sound, findings, preloaded }
}

fn page(report: &Report) -> String {
    let line = |finding: &Finding| {
        let done = if finding.repaired { " (repaired)" } else { "" };
        let object = escaped(&finding.object.to_string());
        let reason = escaped(&finding.reason);
        format!("{}: {object}: {reason}{done}\n", word(finding.severity))
    };
    let lines: String = report.findings.iter().map(line).collect();
    let read_only = |ReadOnlyReport { path, images, blobs }: &ReadOnlyReport| {
        format!("read-only store {}: images: {images}, blobs: {blobs}\n", escaped(&path.to_string_lossy()))
    };
    let read_only: String = report.read_only.iter().map(read_only).collect();
    let Report { images, blobs, layers, .. } = report;
    let state = if report.findings.iter().any(is_open) { "not sound" } else { "sound" };
    format!("{lines}{read_only}images: {images}, blobs: {blobs}, layers: {layers}: {state}\n")
}
