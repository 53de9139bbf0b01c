//! config/casemate.toml: one file that has every key, each with its meaning and its default.

use super::{sample, wrap};
use crate::keys::{Row, Table, file};
use crate::types::{Group, Shape};
use crate::view::Level;

/// The longest line that takes a comment at its end; a longer line has it above.
const WIDTH: usize = 128;
/// The width of comments above a line.
const COMMENT: usize = 118;

const INTRODUCTION: &str = "\
# Every key of casemate.toml, with its meaning and its default. docs/reference.md has more of each; `casemate keys` prints it.
# Generated from the table of keys (src/spec/src/keys); a test compares.
#
# Not keys, because they cannot be turned off: images pinned by digest, a uid other than 0, no_new_privs, namespaces for every
# container, empty capability sets, seccomp and Landlock, and the refusal to start without them.
# Unknown keys are errors, and nothing is taken from the environment: the file means one thing.
#
# Sizes are \"512MiB\" (B, KiB, MiB, GiB, TiB) or a number of bytes; durations \"10s\", \"1m30s\", \"500ms\". A limit is never 0 or
# unlimited. Digests here are placeholders.

";

/// Which of the two examples of each key is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Example {
    /// Every key that has one: the first container.
    First,
    /// The keys that have a second one: the second container.
    Second,
    /// The defaults: `[defaults]`.
    Defaults,
}

/// config/casemate.toml.
pub fn example() -> String {
    let mut text = INTRODUCTION.to_owned();
    let rows: Vec<_> = file::TABLE.rows(Level::Own).collect();
    lines(
        &rows.iter().copied().filter(|row| row.shape().tables().is_empty()).collect::<Vec<_>>(),
        Example::First,
        "",
        &mut text,
    );
    for row in rows {
        let name = row.about().name;
        if let Some(named) = row.named() {
            for (number, entry) in named.examples.iter().enumerate() {
                let example = if number == 0 { Example::First } else { Example::Second };
                let about = if number == 0 { named.table.about } else { "" };
                table(named.table, &format!("{name}.{entry}"), about, example, 0, &mut text);
            }
        } else if let Some(Group { table: inner, level, .. }) = row.group() {
            let example = if *level == Some(Level::Defaults) { Example::Defaults } else { Example::First };
            let about = if *level == Some(Level::Defaults) { row.about().meaning } else { inner.about };
            table(inner, name, about, example, 0, &mut text);
        } else if let [(inner, _)] = row.shape().tables().as_slice() {
            comment(row.about().meaning, "", &mut text);
            text.push_str(&format!("[[{name}]]\n"));
            lines(&inner.rows(Level::Own).collect::<Vec<_>>(), Example::First, "", &mut text);
        }
    }
    text.trim_end().to_owned() + "\n"
}

/// A table: its header, its keys, then the tables below it.
fn table(table: &'static Table, path: &str, about: &str, example: Example, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    let level = if example == Example::Defaults { Level::Defaults } else { Level::Own };
    if !text.ends_with("\n\n") {
        text.push('\n');
    }
    comment(about, &indent, text);
    text.push_str(&format!("{indent}[{path}]\n"));
    let rows: Vec<_> = table.rows(level).collect();
    let below = |row: &&'static dyn Row| example != Example::Defaults && sub_table(*row, example).is_some();
    lines(&rows.iter().copied().filter(|row| !below(row)).collect::<Vec<_>>(), example, &indent, text);
    for row in rows.into_iter().filter(below) {
        if let Some(inner) = sub_table(row, example) {
            let about = if example == Example::First { inner.about } else { "" };
            self::table(inner, &format!("{path}.{}", row.about().name), about, example, depth + 1, text);
        }
    }
    if !text.ends_with("\n\n") {
        text.push('\n');
    }
}

/// The table that a key is written as, below the table that it stands in.
fn sub_table(row: &'static dyn Row, example: Example) -> Option<&'static Table> {
    let in_second = |table: &Table| table.rows.iter().any(|row| !row.about().second.is_empty());
    match (row.group(), example) {
        (Some(group), Example::First) => Some(group.table),
        (Some(group), Example::Second) => {
            Some(group.table).filter(|table| row.about().second.is_empty() && in_second(table))
        }
        (None, Example::Second) if row.about().second.is_empty() => match row.shape() {
            Shape::OneOf(shapes) => {
                shapes.iter().flat_map(Shape::tables).map(|(table, _)| table).find(|table| in_second(table))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The keys of a table with their comments, the equals signs below each other.
fn lines(rows: &[&'static dyn Row], example: Example, indent: &str, text: &mut String) {
    let shown: Vec<_> = rows.iter().filter_map(|row| Some((*row, value(*row, example)?))).collect();
    let width = shown.iter().map(|(row, _)| row.about().name.len()).max().unwrap_or(0);
    for (row, value) in shown {
        let line = format!("{indent}{:width$} = {value}", row.about().name);
        let remark = if example == Example::Second { String::new() } else { meaning(row, &value) };
        let end = format!("{line:44} # {remark}");
        if remark.is_empty() {
            text.push_str(&format!("{line}\n"));
        } else if line.contains('\n') || end.chars().count() > WIDTH {
            comment(&remark, indent, text);
            text.push_str(&format!("{line}\n"));
        } else {
            text.push_str(&format!("{end}\n"));
        }
    }
}

fn value(row: &'static dyn Row, example: Example) -> Option<String> {
    let about = row.about();
    let value = match (example, row.group()) {
        (Example::Second, _) => about.second.to_owned(),
        (Example::First, _) => sample_or_nothing(row),
        (Example::Defaults, None) => row.default_text().unwrap_or_else(|| quoted_default(row)),
        (Example::Defaults, Some(Group { short: Some(short), table, .. })) => {
            table.rows.iter().find(|row| row.about().name == *short)?.default_text()?
        }
        (Example::Defaults, Some(group)) => {
            let pair = |row: &'static dyn Row| Some(format!("{} = {}", row.about().name, row.default_text()?));
            let pairs: Vec<String> = group.table.rows(Level::Defaults).filter_map(pair).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    };
    (!value.is_empty()).then_some(value)
}

/// A value where one holds by itself or is given as the first example.
fn sample_or_nothing(row: &dyn Row) -> String {
    if row.about().example.is_empty() && row.default_text().is_none() { String::new() } else { sample(row) }
}

/// The value in the words of a default: that of `the image's, else "SIGTERM"`.
fn quoted_default(row: &dyn Row) -> String {
    row.default_description().split('`').nth(1).unwrap_or_default().to_owned()
}

/// What stands behind a key: whether it is required, its meaning, and its default where another value is shown.
fn meaning(row: &dyn Row, value: &str) -> String {
    let meaning = row.about().meaning;
    let default = row.default_description();
    if default == "required" {
        format!("{meaning} (required)")
    } else if default.is_empty() || row.default_text().as_deref() == Some(value) {
        meaning.to_owned()
    } else {
        format!("{meaning}; default: {}", default.replace('`', ""))
    }
    .replace('`', "")
}

fn comment(remark: &str, indent: &str, text: &mut String) {
    for line in wrap(remark, COMMENT).iter().filter(|line| !line.is_empty()) {
        text.push_str(&format!("{indent}# {line}\n"));
    }
}
