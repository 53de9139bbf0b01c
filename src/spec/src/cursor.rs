//! A cursor over one spanned TOML table: takes known keys, checks types, and names what is left over.
//!
//! Enters: the parser's tables. Leaves: values with their spans, and findings. Nothing here knows what a key means.

use super::finding::{Findings, quoted};
use super::keys::Keys;
use super::rules;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// A value and the bytes of the text that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// One value of the file and the key that it stands under.
#[derive(Clone)]
pub(super) struct Item<'t> {
    pub(super) name: &'t str,
    pub(super) key_span: Range<usize>,
    pub(super) span: Range<usize>,
    value: &'t DeValue<'t>,
    /// One of the array under that key.
    element: bool,
}

/// A table whose keys are being taken.
pub(super) struct Cursor<'t> {
    keys: &'static Keys,
    table: &'t DeTable<'t>,
    /// Where a finding about the whole table points.
    pub(super) span: Range<usize>,
    taken: Vec<&'static str>,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(keys: &'static Keys, table: &'t DeTable<'t>, span: Range<usize>) -> Self {
        Self { keys, table, span, taken: Vec::new() }
    }

    /// The value of a key.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'t>> {
        self.taken.push(key);
        let (key, value) = self.table.get_key_value(key)?;
        Some(Item {
            name: key.get_ref(),
            key_span: key.span(),
            span: value.span(),
            value: value.get_ref(),
            element: false,
        })
    }

    /// The value of a key that has to be there.
    pub(super) fn require(&mut self, key: &'static str, out: &mut Findings<'_>) -> Option<Item<'t>> {
        let item = self.take(key);
        if item.is_none() {
            out.absent(&rules::MISSING_KEY, &self.span, format!("`{key}` is missing in {}", self.keys.table));
        }
        item
    }

    /// Ends the table: what was not taken is unknown.
    pub(super) fn finish(self, out: &mut Findings<'_>) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !self.taken.contains(&name) {
                out.add(
                    &rules::UNKNOWN_KEY,
                    &key.span(),
                    format!("unknown key {} in {}", quoted(name), self.keys.table),
                )
                .help_if(|| self.keys.advice(name));
            }
        }
    }
}

impl<'t> Item<'t> {
    /// Notes that the value has another type than the wanted one.
    pub(super) fn wrong_type(&self, wanted: &str, help: Option<&str>, out: &mut Findings<'_>) {
        let found = self.value.type_str();
        let article = if found.starts_with(['a', 'i']) { "an" } else { "a" };
        let each = if self.element { "each of " } else { "" };
        let message = format!("{each}{} has to be {wanted}, not {article} {found}", quoted(self.name));
        out.add(&rules::WRONG_TYPE, &self.span, message).help_if(|| help.map(str::to_owned));
    }

    pub(super) fn at<T>(&self, value: T) -> At<T> {
        At { value, span: self.span.clone() }
    }

    /// The text, where the value is a string.
    pub(super) fn as_str(&self) -> Option<&'t str> {
        self.value.as_str()
    }

    /// The truth value, where the value is one.
    pub(super) fn as_bool(&self) -> Option<bool> {
        self.value.as_bool()
    }

    /// The number, where the value is an integer; None inside where it needs more than 64 bits.
    pub(super) fn as_integer(&self) -> Option<Option<i64>> {
        let integer = self.value.as_integer()?;
        Some(i64::from_str_radix(integer.as_str(), integer.radix()).ok())
    }

    /// The number, where the value is an integer or a float.
    pub(super) fn as_float(&self) -> Option<f64> {
        match self.value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            // A number of CPUs is small; what a float cannot hold exactly is out of range anyway.
            #[allow(clippy::cast_precision_loss)]
            DeValue::Integer(_) => self.as_integer().flatten().map(|integer| integer as f64),
            _ => None,
        }
    }

    /// The day, where the value is a date without a time.
    pub(super) fn as_date(&self) -> Option<super::date::Date> {
        let datetime = self.value.as_datetime()?;
        match (datetime.date, datetime.time, datetime.offset) {
            (Some(date), None, None) => super::date::Date::new(date.year, date.month, date.day),
            _ => None,
        }
    }

    /// A string without NUL.
    pub(super) fn string(&self, out: &mut Findings<'_>) -> Option<&'t str> {
        let Some(text) = self.as_str() else {
            self.wrong_type("a string", None, out);
            return None;
        };
        if text.contains('\0') {
            out.add(&rules::NUL_BYTE, &self.span, format!("{} has a NUL in it", quoted(self.name)));
            return None;
        }
        Some(text)
    }

    pub(super) fn boolean(&self, out: &mut Findings<'_>) -> Option<bool> {
        let value = self.as_bool();
        if value.is_none() {
            self.wrong_type("true or false", None, out);
        }
        value
    }

    /// The elements of an array.
    pub(super) fn array(&self, wanted: &str, help: Option<&str>, out: &mut Findings<'_>) -> Option<Vec<Item<'t>>> {
        let Some(array) = self.value.as_array() else {
            self.wrong_type(wanted, help, out);
            return None;
        };
        let element = |value: &'t toml::Spanned<DeValue<'t>>| Item {
            name: self.name,
            key_span: self.key_span.clone(),
            span: value.span(),
            value: value.get_ref(),
            element: true,
        };
        Some(array.iter().map(element).collect())
    }

    /// The entries of a table whose keys the file chooses, in file order.
    pub(super) fn entries(&self, wanted: &str, help: Option<&str>, out: &mut Findings<'_>) -> Option<Vec<Item<'t>>> {
        let Some(table) = self.value.as_table() else {
            self.wrong_type(wanted, help, out);
            return None;
        };
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| Item {
                name: key.get_ref(),
                key_span: key.span(),
                span: value.span(),
                value: value.get_ref(),
                element: false,
            })
            .collect();
        entries.sort_by_key(|item| item.key_span.start);
        Some(entries)
    }

    /// A table with these keys, where the value is a table.
    pub(super) fn as_table(&self, keys: &'static Keys) -> Option<Cursor<'t>> {
        let table = self.value.as_table()?;
        // A table that only its sub-tables make has no place but its key.
        let span = if self.span.is_empty() { self.key_span.clone() } else { self.span.clone() };
        Some(Cursor::new(keys, table, span))
    }

    /// A table with these keys.
    pub(super) fn table(&self, keys: &'static Keys, out: &mut Findings<'_>) -> Option<Cursor<'t>> {
        let cursor = self.as_table(keys);
        if cursor.is_none() {
            self.wrong_type("a table", None, out);
        }
        cursor
    }
}
