//! Tables: those whose keys stand in the table of keys, and those that the file names.

use super::{Shape, ValueType};
use crate::check;
use crate::finding::{Findings, quoted};
use crate::item::{Item, entries};
use crate::keys::{Row, Table};
use crate::rules;
use crate::view::{Level, MAX_ENTRIES, View};
use casemate_wire::Name;
use std::ops::Range;

/// A table whose keys are looked up one by one, each in the container and then in `[defaults]`.
pub(crate) struct Group {
    pub(crate) table: &'static Table,
    /// The key that a value in place of the table sets: `restart = "no"`.
    pub(crate) short: Option<&'static str>,
    /// The level that the table's keys are at, where that is not the one of its own table.
    pub(crate) level: Option<Level>,
}

impl Group {
    pub(crate) const fn of(table: &'static Table) -> Self {
        Self { table, short: None, level: None }
    }

    fn short_row(&self) -> Option<&'static dyn Row> {
        self.short.and_then(|name| self.table.rows.iter().copied().find(|row| row.about().name == name))
    }
}

impl ValueType for Group {
    type Value = ();

    fn shape(&self) -> Shape {
        let table = Shape::Table(self.table, self.level);
        match self.short_row() {
            Some(row) => Shape::OneOf(vec![row.shape(), table]),
            None => table,
        }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<()> {
        self.check(item, Level::Own, out);
        Some(())
    }

    fn check(&self, item: &Item<'_>, level: Level, out: &mut Findings<'_>) {
        match (item.as_table(), self.short_row()) {
            (Some(table), _) => check::table(self.table, self.level.unwrap_or(level), table, &item.table_span(), out),
            (None, Some(row)) => row.check(item, level, out),
            (None, None) => item.wrong_type("a table", None, out),
        }
    }

    fn show(&self, (): &()) -> String {
        "{}".to_owned()
    }

    fn group(&self) -> Option<&Group> {
        Some(self)
    }

    fn text(&self, item: &Item<'_>) -> Option<String> {
        match (item.as_table(), self.short_row()) {
            (None, Some(row)) => row.text(item),
            _ => table_text(self.table, item),
        }
    }
}

/// Tables that the file names: `[containers.NAME]`.
pub(crate) struct Named {
    pub(crate) table: &'static Table,
    /// Notes what is wrong with a name.
    pub(crate) name: fn(&Item<'_>, &mut Findings<'_>),
    /// The key of the table that stands in for what an entry leaves out.
    pub(crate) below: Option<&'static str>,
    /// Names for config/casemate.toml.
    pub(crate) examples: &'static [&'static str],
}

impl ValueType for Named {
    type Value = ();

    fn shape(&self) -> Shape {
        Shape::Named(self.table)
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<()> {
        let heading = self.table.heading(Level::Own);
        let Some(table) = item.as_table() else {
            item.wrong_type(&format!("tables, each written {heading}"), None, out);
            return None;
        };
        let entries = entries(table);
        check::count(&entries, out);
        for entry in entries.iter().take(MAX_ENTRIES) {
            (self.name)(entry, out);
            match entry.as_table() {
                Some(table) => check::table(self.table, Level::Own, table, &entry.table_span(), out),
                None => entry.wrong_type("a table", None, out),
            }
        }
        Some(())
    }

    fn show(&self, (): &()) -> String {
        "{}".to_owned()
    }

    fn named(&self) -> Option<&Named> {
        Some(self)
    }
}

/// The name of a container, a volume, the appliance; or a finding.
pub(crate) fn name_of(text: &str, span: &Range<usize>, out: &mut Findings<'_>) -> Option<Name> {
    let name = Name::new(text);
    if let Err(error) = &name {
        let fixed: String =
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        let fixed = fixed.trim_matches('-');
        out.add(&rules::NAME, span, format!("{} is not a name: {error}", quoted(text)))
            .help_if(|| Name::new(fixed).is_ok().then(|| format!("write `{fixed}`")));
    }
    name.ok()
}

/// A table that is read as one value.
pub(crate) struct Whole<T> {
    pub(crate) table: &'static Table,
    /// How it is written, for the message about a value that is no table.
    pub(crate) example: &'static str,
    /// Makes the value of a table whose keys were checked, and checks them with each other.
    pub(crate) read: fn(&View<'_>, &mut Findings<'_>) -> Option<T>,
}

impl Whole<()> {
    /// A table whose keys are read elsewhere, as they are compared with the rest of the file.
    pub(crate) const fn keys(table: &'static Table, example: &'static str) -> Self {
        Self { table, example, read: |_, _| Some(()) }
    }
}

impl<T: 'static> ValueType for Whole<T> {
    type Value = T;

    fn shape(&self) -> Shape {
        Shape::Table(self.table, None)
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<T> {
        let Some(table) = item.as_table() else {
            item.wrong_type("a table", Some(&format!("write it as in `{}`", self.example)), out);
            return None;
        };
        check::table(self.table, Level::Own, table, &item.table_span(), out);
        (self.read)(&View::of(self.table, Level::Own, table, item.table_span()), out)
    }

    /// No key has such a table for its default: only tables of the file are written, by [`Self::text`].
    fn show(&self, _: &T) -> String {
        String::new()
    }

    fn text(&self, item: &Item<'_>) -> Option<String> {
        table_text(self.table, item)
    }
}

/// A table of the file in one line, its keys in the order of the table of keys.
pub(crate) fn table_text(table: &'static Table, item: &Item<'_>) -> Option<String> {
    let view = View::of(table, Level::Own, item.as_table()?, item.table_span());
    let mut pairs = Vec::new();
    for row in table.rows {
        if let Some((_, value)) = view.items(row.about()).next() {
            pairs.push(format!("{} = {}", row.about().name, row.text(&value)?));
        }
    }
    Some(if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) })
}
