//! Lists, and tables of strings whose names the file chooses.

use super::{Shape, ValueType, toml_key, toml_string};
use crate::check;
use crate::finding::Findings;
use crate::item::{At, Item, entries};
use crate::view::MAX_ENTRIES;
use std::collections::BTreeMap;

/// Checks the elements of a list with each other.
type Between<T> = fn(&[At<T>], &Item<'_>, &mut Findings<'_>);

/// A list of values of one type.
pub(crate) struct List<E: ValueType> {
    of: E,
    words: &'static str,
    example: &'static str,
    most: Option<u64>,
    /// Elements past [`MAX_ENTRIES`] are not read.
    counted: bool,
    between: Between<E::Value>,
}

/// A list; `words` and `example` are for the message about a value that is none.
pub(crate) const fn list<E: ValueType>(words: &'static str, example: &'static str, of: E) -> List<E> {
    List { of, words, example, most: None, counted: false, between: |_, _, _| {} }
}

impl<E: ValueType> List<E> {
    /// Adds a check of the elements with each other.
    pub(crate) const fn between(mut self, check: Between<E::Value>) -> Self {
        self.between = check;
        self
    }

    /// Says in the documents that a list has at most this many elements; the check is [`Self::between`]'s.
    pub(crate) const fn at_most(mut self, most: u64) -> Self {
        self.most = Some(most);
        self
    }

    /// Bounds the elements that are read, for those that are compared with each other.
    pub(crate) const fn counted(mut self) -> Self {
        self.counted = true;
        self
    }

    /// The readable elements, with their positions.
    pub(crate) fn elements(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Vec<At<E::Value>>> {
        let help = format!("write it as in `{}`", self.example);
        let mut elements = item.array(self.words, Some(&help), out)?;
        if self.counted {
            check::count(&elements, out);
            elements.truncate(MAX_ENTRIES);
        }
        let read = |element: &Item<'_>| Some(element.at(self.of.read(element, out)?));
        Some(elements.iter().filter_map(read).collect())
    }
}

impl<E: ValueType> ValueType for List<E> {
    type Value = Vec<E::Value>;

    fn shape(&self) -> Shape {
        Shape::List { of: Box::new(self.of.shape()), words: self.words, most: self.most }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Vec<E::Value>> {
        let elements = self.elements(item, out)?;
        (self.between)(&elements, item, out);
        Some(elements.into_iter().map(|element| element.value).collect())
    }

    fn show(&self, value: &Vec<E::Value>) -> String {
        let elements: Vec<String> = value.iter().map(|element| self.of.show(element)).collect();
        format!("[{}]", elements.join(", "))
    }

    fn text(&self, item: &Item<'_>) -> Option<String> {
        let elements: Option<Vec<String>> = item.as_array()?.iter().map(|element| self.of.text(element)).collect();
        Some(format!("[{}]", elements?.join(", ")))
    }

    fn join(&self, mut own: Vec<E::Value>, below: Vec<E::Value>) -> Vec<E::Value> {
        own.extend(below);
        own
    }
}

/// The entries of a table of strings, in the order of the text.
pub(crate) fn string_entries<'t>(item: &Item<'t>, out: &mut Findings<'_>) -> Vec<(Item<'t>, String)> {
    let Some(table) = item.as_table() else {
        let help = format!("write it as in `{} = {{ NAME = \"value\" }}`", item.name);
        item.wrong_type("a table", Some(&help), out);
        return Vec::new();
    };
    let mut pairs = Vec::new();
    for entry in entries(table) {
        if entry.as_integer().is_some() || entry.as_bool().is_some() || entry.as_float().is_some() {
            entry.wrong_type("a string", Some("put it in quotes"), out);
        } else if let Some(value) = entry.string(out) {
            let value = value.to_owned();
            pairs.push((entry, value));
        }
    }
    pairs
}

/// A table of strings as TOML writes it.
pub(crate) fn string_map_text(map: &BTreeMap<String, String>) -> String {
    if map.is_empty() {
        return "{}".to_owned();
    }
    let pairs: Vec<_> =
        map.iter().map(|(name, value)| format!("{} = {}", toml_key(name), toml_string(value))).collect();
    format!("{{ {} }}", pairs.join(", "))
}
