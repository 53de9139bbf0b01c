//! Findings: which rule a file breaks, where, and what to do about it.
//!
//! Enters: rule, span and message from the value types, the table check and `validate`. Leaves: findings in the order of the
//! text, bounded in number.

use super::position::{Lines, Position};
use super::rules::{Rule, Severity};
use serde::Serialize;
use std::ops::Range;

/// The most findings that are reported for one file, so that a hostile file costs no more than this many.
const MAX_FINDINGS: usize = 200;
/// The most findings that are collected before they are sorted; the reported ones are the first of these.
const MAX_NOTED: usize = 400;

/// A rule that the file breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// Whether the file is refused.
    pub severity: Severity,
    /// Line and column.
    #[serde(flatten)]
    pub position: Position,
    /// What is wrong.
    pub message: String,
    /// The remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// A second position that the finding is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related: Option<Related>,
    /// The bytes of the text.
    #[serde(skip)]
    pub span: Range<usize>,
}

/// A second position that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Line and column.
    #[serde(flatten)]
    pub position: Position,
    /// What stands there.
    pub message: String,
    /// The bytes of the text.
    #[serde(skip)]
    pub span: Range<usize>,
}

/// Collects findings while a file is read.
pub(super) struct Findings<'t> {
    lines: Lines<'t>,
    list: Vec<Noted>,
    /// The most findings to collect.
    most: usize,
}

/// A finding, and whether it reports a missing key.
struct Noted {
    finding: Finding,
    absence: bool,
}

impl<'t> Findings<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { lines: Lines::new(text), list: Vec::new(), most: MAX_NOTED }
    }

    /// Collects nothing: for values that are read again after their findings were noted.
    pub(super) fn silent() -> Self {
        Self { lines: Lines::new(""), list: Vec::new(), most: 0 }
    }

    /// The lines of the text.
    pub(super) fn lines(&self) -> &Lines<'t> {
        &self.lines
    }

    /// Notes a finding; remedy and second position are added to what is returned.
    pub(super) fn add(
        &mut self,
        rule: &'static Rule,
        span: &Range<usize>,
        message: impl Into<String>,
    ) -> Details<'_, 't> {
        self.note(rule, span, message.into(), false)
    }

    /// Notes that something is missing. A broken line may hold it after all: in a file with syntax errors the finding is left
    /// out.
    pub(super) fn absent(
        &mut self,
        rule: &'static Rule,
        span: &Range<usize>,
        message: impl Into<String>,
    ) -> Details<'_, 't> {
        self.note(rule, span, message.into(), true)
    }

    fn note(&mut self, rule: &'static Rule, span: &Range<usize>, message: String, absence: bool) -> Details<'_, 't> {
        // Half of the list is for errors alone, so that warnings do not fill it before a later error is found.
        let most = if rule.severity == Severity::Error { self.most } else { self.most / 2 };
        let noted = self.list.len() < most;
        if noted {
            let span = self.on_characters(span);
            let position = self.lines.position(span.start);
            let finding =
                Finding { rule: rule.id, severity: rule.severity, position, message, help: None, related: None, span };
            self.list.push(Noted { finding, absence });
        }
        Details { findings: self, noted }
    }

    /// The span, widened to whole characters and cut to the text.
    fn on_characters(&self, span: &Range<usize>) -> Range<usize> {
        let limit = |at: &usize| self.lines.text.is_char_boundary(*at);
        let start = (0..=span.start.min(self.lines.text.len())).rev().find(limit).unwrap_or(0);
        let end = (span.end.max(start)..self.lines.text.len()).find(limit).unwrap_or(self.lines.text.len());
        start..end
    }

    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|noted| noted.finding.severity == Severity::Error)
    }

    /// The findings in the order of the text. Values on a line with a syntax error are the parser's guess, so such a line keeps
    /// its syntax errors only.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        let is_syntax = |noted: &Noted| noted.finding.rule == super::rules::SYNTAX.id;
        let broken: std::collections::BTreeSet<usize> =
            self.list.iter().filter(|noted| is_syntax(noted)).map(|noted| noted.finding.position.line).collect();
        self.list.retain(|noted| {
            is_syntax(noted)
                || (!broken.contains(&noted.finding.position.line) && (broken.is_empty() || !noted.absence))
        });
        let mut list: Vec<Finding> = self.list.into_iter().map(|noted| noted.finding).collect();
        list.sort_by(|a, b| (a.position, a.rule, &a.message).cmp(&(b.position, b.rule, &b.message)));
        list.dedup();
        // Where the list is cut, it is cut to errors.
        if list.len() > MAX_FINDINGS {
            list.retain(|finding| finding.severity == Severity::Error);
            list.truncate(MAX_FINDINGS);
        }
        list
    }
}

/// The finding that was just noted, to add a remedy or a second position to it. A finding above the bound gets neither.
pub(super) struct Details<'f, 't> {
    findings: &'f mut Findings<'t>,
    noted: bool,
}

impl Details<'_, '_> {
    /// Adds the remedy.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        self.help_if(|| Some(help.into()))
    }

    /// Adds the remedy where there is one; it is worked out only if the finding was kept.
    pub(super) fn help_if(self, help: impl FnOnce() -> Option<String>) -> Self {
        if self.noted
            && let Some(last) = self.findings.list.last_mut()
        {
            last.finding.help = help();
        }
        self
    }

    /// Adds a second position.
    pub(super) fn related(self, span: &Range<usize>, message: impl Into<String>) -> Self {
        let span = self.findings.on_characters(span);
        let related = Related { position: self.findings.lines.position(span.start), message: message.into(), span };
        if self.noted
            && let Some(last) = self.findings.list.last_mut()
        {
            last.finding.related = Some(related);
        }
        self
    }
}

/// Text of the file as a message quotes it: control characters escaped, at most 60 characters.
pub(super) fn quoted(text: &str) -> String {
    const MAX: usize = 60;
    let mut shown: String = text.chars().take(MAX).flat_map(escaped).collect();
    if text.chars().nth(MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// A character as it may be printed on a terminal: control characters (C0, C1), bidirectional and invisible marks are escaped.
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
    fn spans_are_widened_to_characters_inside_the_text() {
        let mut findings = Findings::new("aéb");
        findings.add(&rules::SYNTAX, &(2..2), "x");
        findings.add(&rules::SYNTAX, &(9..99), "y");
        #[allow(clippy::reversed_empty_ranges)]
        findings.add(&rules::SYNTAX, &(3..1), "z");
        let spans: Vec<_> = findings.finish().into_iter().map(|finding| finding.span).collect();
        assert_eq!(spans, [1..3, 3..3, 4..4]);
    }

    #[test]
    fn a_line_with_a_syntax_error_keeps_its_syntax_errors_only() {
        let mut findings = Findings::new("a\nb\n");
        findings.add(&rules::SYNTAX, &(0..1), "broken");
        findings.add(&rules::NUMBER, &(0..1), "a guess");
        findings.add(&rules::NUMBER, &(2..3), "real");
        findings.absent(&rules::MISSING_KEY, &(2..3), "perhaps there");
        let rules: Vec<_> = findings.finish().into_iter().map(|finding| finding.message).collect();
        assert_eq!(rules, ["broken", "real"]);
    }

    #[test]
    fn findings_are_bounded_and_cut_to_errors() {
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
    fn quoted_text_has_no_control_characters() {
        assert_eq!(quoted("a\u{1b}[2J\nb\u{202e}"), "`a\\u{1b}[2J\\nb\\u{202e}`");
        assert!(quoted(&"é".repeat(1000)).chars().count() < 70);
    }
}
