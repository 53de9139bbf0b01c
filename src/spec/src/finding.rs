//! What is wrong with a file, and where.
//!
//! Enters: rule, span and words from the decoder and `validate`. Leaves: findings in the order of the text, bounded in number.

use super::model::Position;
use super::rules::{Rule, Severity};
use serde::Serialize;
use std::ops::Range;

/// The most findings that one file gets: past them the list helps nobody, and a hostile file must not cost more.
const MAX_FINDINGS: usize = 200;
/// The most that are collected before they are sorted; the list that is shown is cut from these.
const MAX_NOTED: usize = 400;

/// A rule that the file breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// What it means for the file.
    pub severity: Severity,
    /// Where.
    #[serde(flatten)]
    pub place: Position,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Another place that belongs to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related: Option<Related>,
    /// The bytes of the text.
    #[serde(skip)]
    pub span: Range<usize>,
}

/// Another place that belongs to a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Where.
    #[serde(flatten)]
    pub place: Position,
    /// What is there.
    pub message: String,
    /// The bytes of the text.
    #[serde(skip)]
    pub span: Range<usize>,
}

/// Collects findings while a file is read.
pub(super) struct Findings<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
    list: Vec<Noted>,
}

/// A finding, and whether it is about something that is not there.
struct Noted {
    finding: Finding,
    absence: bool,
}

impl<'t> Findings<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        Self { text, line_starts, list: Vec::new() }
    }

    /// Where a byte of the text is.
    pub(super) fn place(&self, at: usize) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= at);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..at).map_or(0, |text| text.chars().count());
        Position { line, column: before + 1 }
    }

    /// Notes a finding; the rest of it is added to what is returned.
    pub(super) fn add(
        &mut self,
        rule: &'static Rule,
        span: &Range<usize>,
        message: impl Into<String>,
    ) -> Details<'_, 't> {
        self.note(rule, span, message.into(), false)
    }

    /// Notes that something is not there. Where the syntax is broken it may be there after all, and the finding is left out.
    pub(super) fn absent(
        &mut self,
        rule: &'static Rule,
        span: &Range<usize>,
        message: impl Into<String>,
    ) -> Details<'_, 't> {
        self.note(rule, span, message.into(), true)
    }

    fn note(&mut self, rule: &'static Rule, span: &Range<usize>, message: String, absence: bool) -> Details<'_, 't> {
        // A warning must not take the place of an error that is found later.
        let room = if rule.severity == Severity::Error { MAX_NOTED } else { MAX_NOTED / 2 };
        let noted = self.list.len() < room;
        if noted {
            let span = self.on_characters(span);
            let (rule, severity, place) = (rule.id, rule.severity, self.place(span.start));
            let finding = Finding { rule, severity, place, message, help: None, related: None, span };
            self.list.push(Noted { finding, absence });
        }
        Details { findings: self, noted }
    }

    /// The same span, moved outward to the limits of characters, inside the text.
    fn on_characters(&self, span: &Range<usize>) -> Range<usize> {
        let limit = |at: &usize| self.text.is_char_boundary(*at);
        let start = (0..=span.start.min(self.text.len())).rev().find(limit).unwrap_or(0);
        let end = (span.end.max(start)..self.text.len()).find(limit).unwrap_or(self.text.len());
        start..end
    }

    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|noted| noted.finding.severity == Severity::Error)
    }

    /// The findings in the order of the text. What was read from a line whose syntax is broken is the parser's guess, so such
    /// a line has its syntax errors only.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        let is_syntax = |noted: &Noted| noted.finding.rule == super::rules::SYNTAX.id;
        let broken: std::collections::BTreeSet<usize> =
            self.list.iter().filter(|noted| is_syntax(noted)).map(|noted| noted.finding.place.line).collect();
        self.list.retain(|noted| {
            is_syntax(noted) || (!broken.contains(&noted.finding.place.line) && (broken.is_empty() || !noted.absence))
        });
        let mut list: Vec<Finding> = self.list.into_iter().map(|noted| noted.finding).collect();
        list.sort_by(|a, b| (a.place, a.rule, &a.message).cmp(&(b.place, b.rule, &b.message)));
        list.dedup();
        // Errors must not fall off the end behind warnings.
        if list.len() > MAX_FINDINGS {
            list.retain(|finding| finding.severity == Severity::Error);
            list.truncate(MAX_FINDINGS);
        }
        list
    }
}

/// The finding that was just added, for what else there is to say. Where it was one too many, nothing more is worked out for it.
pub(super) struct Details<'f, 't> {
    findings: &'f mut Findings<'t>,
    noted: bool,
}

impl Details<'_, '_> {
    /// What to do about it.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        self.help_if(|| Some(help.into()))
    }

    /// What to do about it, where that can be found out.
    pub(super) fn help_if(self, help: impl FnOnce() -> Option<String>) -> Self {
        if self.noted
            && let Some(last) = self.findings.list.last_mut()
        {
            last.finding.help = help();
        }
        self
    }

    /// Another place that belongs to it.
    pub(super) fn related(self, span: &Range<usize>, message: impl Into<String>) -> Self {
        let span = self.findings.on_characters(span);
        let related = Related { place: self.findings.place(span.start), message: message.into(), span };
        if self.noted
            && let Some(last) = self.findings.list.last_mut()
        {
            last.finding.related = Some(related);
        }
        self
    }
}

/// Text of the file as a message quotes it: control characters escaped, cut to a length that a line bears.
pub(super) fn quoted(text: &str) -> String {
    const MAX: usize = 60;
    let mut shown: String = text.chars().take(MAX).flat_map(escaped).collect();
    if text.chars().nth(MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// A character as a terminal may see it: what controls it (C0, C1, bidirectional and invisible marks) is written as an escape.
pub(super) fn escaped(c: char) -> impl Iterator<Item = char> {
    let invisible =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let escape = (c.is_control() || invisible).then(|| c.escape_default());
    let plain = escape.is_none().then_some(c);
    escape.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    #[test]
    fn places_count_characters_from_one() {
        let findings = Findings::new("aé\nb\n");
        let place = |at| (findings.place(at).line, findings.place(at).column);
        assert_eq!([place(0), place(1), place(3), place(4), place(6)], [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1)]);
    }

    #[test]
    fn spans_are_moved_to_characters_inside_the_text() {
        let mut findings = Findings::new("aéb");
        findings.add(&rules::SYNTAX, &(2..2), "x");
        findings.add(&rules::SYNTAX, &(9..99), "y");
        #[allow(clippy::reversed_empty_ranges)]
        findings.add(&rules::SYNTAX, &(3..1), "z");
        let spans: Vec<_> = findings.finish().into_iter().map(|finding| finding.span).collect();
        assert_eq!(spans, [1..3, 3..3, 4..4]);
    }

    #[test]
    fn a_broken_line_has_its_syntax_errors_only() {
        let mut findings = Findings::new("a\nb\n");
        findings.add(&rules::SYNTAX, &(0..1), "broken");
        findings.add(&rules::NUMBER, &(0..1), "a guess");
        findings.add(&rules::NUMBER, &(2..3), "real");
        findings.absent(&rules::MISSING_KEY, &(2..3), "perhaps there");
        let rules: Vec<_> = findings.finish().into_iter().map(|finding| finding.message).collect();
        assert_eq!(rules, ["broken", "real"]);
    }

    #[test]
    fn findings_are_bounded_and_errors_come_first() {
        let mut findings = Findings::new("a");
        for number in 0..MAX_FINDINGS {
            findings.add(&rules::WAIVER_UNUSED, &(0..1), format!("{number}"));
            findings.add(&rules::NUMBER, &(0..1), format!("{number}"));
        }
        let list = findings.finish();
        assert_eq!(list.len(), MAX_FINDINGS);
        assert!(list.iter().all(|finding| finding.severity == Severity::Error));
    }

    #[test]
    fn quoted_text_cannot_steer_a_terminal() {
        assert_eq!(quoted("a\u{1b}[2J\nb\u{202e}"), "`a\\u{1b}[2J\\nb\\u{202e}`");
        assert!(quoted(&"é".repeat(1000)).chars().count() < 70);
    }
}
