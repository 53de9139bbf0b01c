//! Findings for people: each quotes its line with a caret.

use super::finding::{Finding, escaped};
use super::rules::Severity;
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::ops::Range;

/// The most bytes of source that one finding quotes; a longer stretch is named by its place alone.
const MAX_QUOTED: usize = 16 * 1024;

/// The findings as text, one after the other; with colour only when asked.
pub fn render(file_name: &str, text: &str, findings: &[Finding], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let file_name: String = file_name.chars().flat_map(escaped).collect();
    let mut shown = String::new();
    for finding in findings {
        shown.push_str(&renderer.render(&[group(&file_name, text, finding)]));
        shown.push_str("\n\n");
    }
    shown
}

fn group<'a>(file_name: &'a str, text: &'a str, finding: &'a Finding) -> Group<'a> {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(finding.message.as_str()).id(finding.rule));
    let related = finding.related.as_ref();
    let quoted = stretch(text, &finding.span, related.map(|related| &related.span))
        .or_else(|| stretch(text, &finding.span, None));
    match quoted {
        Some((lines, line)) => {
            let shift = |span: &Range<usize>| visible(text, span, &lines);
            let source = text.get(lines.clone()).unwrap_or_default();
            let mut snippet = Snippet::source(source)
                .path(file_name)
                .line_start(line)
                .annotation(AnnotationKind::Primary.span(shift(&finding.span)));
            if let Some(related) =
                related.filter(|related| lines.start <= related.span.start && related.span.end <= lines.end)
            {
                let context = AnnotationKind::Context.span(shift(&related.span));
                snippet = snippet.annotation(context.label(related.message.as_str()));
            }
            group = group.element(snippet);
        }
        None => {
            let position = finding.position;
            group = group.element(Origin::path(file_name).line(position.line).char_column(position.column));
        }
    }
    match &finding.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}

/// The whole lines that hold both spans, and the number of the first one; none where they are too long to quote.
fn stretch(text: &str, span: &Range<usize>, other: Option<&Range<usize>>) -> Option<(Range<usize>, usize)> {
    let first = other.map_or(span.start, |other| other.start.min(span.start));
    let last = other.map_or(span.start, |other| other.start.max(span.start));
    let start = text.get(..first)?.rfind('\n').map_or(0, |at| at + 1);
    let end = text.get(last..)?.find('\n').map_or(text.len(), |at| last + at);
    let line = text.get(..start)?.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (end - start <= MAX_QUOTED).then_some((start..end, line))
}

/// A span inside the quoted lines, cut at the end of the line that it begins on, and at least one character wide if it can be.
fn visible(text: &str, span: &Range<usize>, lines: &Range<usize>) -> Range<usize> {
    let rest = text.get(span.start..lines.end).unwrap_or_default();
    let line_end = span.start + rest.find('\n').unwrap_or(rest.len());
    let least = rest.chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    let end = span.end.max(span.start + least).min(line_end).max(span.start);
    span.start - lines.start..end - lines.start
}
