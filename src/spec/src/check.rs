//! The check of a file against the table of keys: unknown keys, missing keys, and each value by its type.

use super::finding::{Findings, quoted};
use super::item::{Item, find};
use super::keys::{self, Table};
use super::rules;
use super::view::{Level, MAX_ENTRIES};
use std::ops::Range;
use toml::de::DeTable;

/// Checks one table, and all below it. `span` is where a finding about the whole table points.
pub(super) fn table(
    table: &'static Table,
    level: Level,
    content: &DeTable<'_>,
    span: &Range<usize>,
    out: &mut Findings<'_>,
) {
    for row in table.rows(level) {
        let name = row.about().name;
        match find(content, name) {
            Some(item) => row.check(&item, level, out),
            None if row.is_required() => {
                out.absent(&rules::MISSING_KEY, span, format!("`{name}` is missing in {}", table.heading(level)));
            }
            None => {}
        }
    }
    for key in content.keys() {
        let name: &str = key.get_ref();
        if !table.rows(level).any(|row| row.about().name == name) {
            let message = format!("unknown key {} in {}", quoted(name), table.heading(level));
            out.add(&rules::UNKNOWN_KEY, &key.span(), message).help_if(|| keys::unknown_key(table, level, name));
        }
    }
}

/// Notes that there are more entries of a kind than are read: they are compared with each other.
pub(super) fn count(entries: &[Item<'_>], out: &mut Findings<'_>) {
    if let Some(first) = entries.get(MAX_ENTRIES) {
        let message = format!("there are more than {MAX_ENTRIES} entries; these and the rest are not read");
        out.add(&rules::COUNT, &first.key_span, message);
    }
}
