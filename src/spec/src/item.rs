//! One value of the file with the key it stands under: its type, its text, its span.
//!
//! Enters: the parser's values. Leaves: Rust values, and findings where the TOML type is another one. Nothing here knows what
//! a key means.

use super::date::Date;
use super::finding::{Findings, quoted};
use super::rules;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// A value and the bytes of the text that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// One value of the file and its key.
#[derive(Clone)]
pub(super) struct Item<'t> {
    pub(super) name: &'t str,
    pub(super) key_span: Range<usize>,
    pub(super) span: Range<usize>,
    value: &'t DeValue<'t>,
    /// It is an element of the array under that key.
    element: bool,
}

/// The value of a key in a table.
pub(super) fn find<'t>(table: &'t DeTable<'t>, key: &str) -> Option<Item<'t>> {
    table.get_key_value(key).map(|(key, value)| item(key, value))
}

/// The entries of a table, in the order of the text.
pub(super) fn entries<'t>(table: &'t DeTable<'t>) -> Vec<Item<'t>> {
    let mut entries: Vec<_> = table.iter().map(|(key, value)| item(key, value)).collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}

fn item<'t>(key: &'t Spanned<DeString<'t>>, value: &'t Spanned<DeValue<'t>>) -> Item<'t> {
    Item { name: key.get_ref(), key_span: key.span(), span: value.span(), value: value.get_ref(), element: false }
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

    /// The text of a string.
    pub(super) fn as_str(&self) -> Option<&'t str> {
        self.value.as_str()
    }

    /// The value of a boolean.
    pub(super) fn as_bool(&self) -> Option<bool> {
        self.value.as_bool()
    }

    /// The value of an integer; `Some(None)` where it needs more than 64 bits.
    pub(super) fn as_integer(&self) -> Option<Option<i64>> {
        let integer = self.value.as_integer()?;
        Some(i64::from_str_radix(integer.as_str(), integer.radix()).ok())
    }

    /// The value of an integer or a float.
    pub(super) fn as_float(&self) -> Option<f64> {
        match self.value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            // Every number that a key accepts here is small enough for a float to hold it exactly.
            #[allow(clippy::cast_precision_loss)]
            DeValue::Integer(_) => self.as_integer().flatten().map(|integer| integer as f64),
            _ => None,
        }
    }

    /// The day of a date without a time.
    pub(super) fn as_date(&self) -> Option<Date> {
        let datetime = self.value.as_datetime()?;
        match (datetime.date, datetime.time, datetime.offset) {
            (Some(date), None, None) => Date::new(date.year, date.month, date.day),
            _ => None,
        }
    }

    pub(super) fn as_table(&self) -> Option<&'t DeTable<'t>> {
        self.value.as_table()
    }

    /// The elements of an array.
    pub(super) fn as_array(&self) -> Option<Vec<Self>> {
        let element = |value: &'t Spanned<DeValue<'t>>| Self {
            name: self.name,
            key_span: self.key_span.clone(),
            span: value.span(),
            value: value.get_ref(),
            element: true,
        };
        Some(self.value.as_array()?.iter().map(element).collect())
    }

    /// The elements of an array, or a finding.
    pub(super) fn array(&self, wanted: &str, help: Option<&str>, out: &mut Findings<'_>) -> Option<Vec<Self>> {
        let elements = self.as_array();
        if elements.is_none() {
            self.wrong_type(wanted, help, out);
        }
        elements
    }

    /// The text of a string without NUL, or a finding.
    pub(super) fn string(&self, out: &mut Findings<'_>) -> Option<&'t str> {
        let Some(text) = self.as_str() else {
            self.wrong_type("a string", None, out);
            return None;
        };
        if text.contains('\0') {
            out.add(&rules::NUL_BYTE, &self.span, format!("{} contains a NUL character", quoted(self.name)));
            return None;
        }
        Some(text)
    }

    /// Where a finding about the value as a table points. A table that is only made by the headers of its sub-tables has no
    /// text of its own; its key is pointed at then.
    pub(super) fn table_span(&self) -> Range<usize> {
        if self.span.is_empty() { self.key_span.clone() } else { self.span.clone() }
    }
}
