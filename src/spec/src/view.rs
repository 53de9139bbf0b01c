//! A table of the file together with the tables that stand in for what it leaves out: the layered lookup.
//!
//! Enters: the parser's tables. Leaves: the effective value of a key, and the layer that it comes from: the table itself, then
//! `[defaults]`, then the default of the table of keys. Values are read here without noting findings: [`super::check`] has
//! noted them.

use super::finding::Findings;
use super::item::{At, Item, entries, find};
use super::keys::{About, Key, Table};
use super::types::{Group, Named, ValueType};
use std::ops::Range;
use toml::de::DeTable;

/// How many entries of a kind (containers, volumes, registries, waivers) are read: they are compared with each other.
pub(super) const MAX_ENTRIES: usize = 1000;

/// Which of the two tables with the same keys is meant: `[containers.NAME]` has all, `[defaults]` some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// The table itself.
    Own,
    /// `[defaults]`, and the tables in it.
    Defaults,
}

/// A table of the file, and what stands in for it.
#[derive(Clone)]
pub(super) struct View<'t> {
    pub(super) table: &'static Table,
    /// The name that the file gives it: that of a container, a volume, a registry.
    pub(super) name: Option<At<&'t str>>,
    /// Where a finding about the whole table points.
    pub(super) span: Range<usize>,
    /// The strongest first.
    layers: Vec<Layer<'t>>,
}

#[derive(Clone)]
struct Layer<'t> {
    level: Level,
    content: Content<'t>,
}

#[derive(Clone)]
enum Content<'t> {
    Table(&'t DeTable<'t>),
    /// A value in place of the table, which sets one key of it: `restart = "no"` is `restart = { policy = "no" }`.
    Short(&'static str, Item<'t>),
}

impl<'t> View<'t> {
    /// A table that stands alone.
    pub(super) fn of(table: &'static Table, level: Level, content: &'t DeTable<'t>, span: Range<usize>) -> Self {
        Self { table, name: None, span, layers: vec![Layer { level, content: Content::Table(content) }] }
    }

    /// A table that is not in the file: every key has its default.
    pub(super) fn absent(table: &'static Table) -> Self {
        Self { table, name: None, span: 0..0, layers: Vec::new() }
    }

    /// The values of a key, the effective one first.
    pub(super) fn items(&self, key: &About) -> impl Iterator<Item = (Level, Item<'t>)> {
        let in_defaults = self.table.has(Level::Defaults, key);
        let layers = self.layers.iter().filter(move |layer| layer.level == Level::Own || in_defaults);
        layers.filter_map(move |layer| Some((layer.level, layer.content.find(key.name)?)))
    }

    /// The value of a key in the table itself, `[defaults]` left aside.
    pub(super) fn own<K: ValueType>(&self, key: &Key<K>) -> Option<Item<'t>> {
        self.items(&key.about).find(|(level, _)| *level == Level::Own).map(|(_, item)| item)
    }

    /// The value of a key in the table itself, read.
    pub(super) fn stated<K: ValueType>(&self, key: &Key<K>) -> Option<At<K::Value>> {
        let item = self.own(key)?;
        Some(item.at(key.of.read(&item, &mut Findings::silent())?))
    }

    /// The value of a key that holds, read, with its position in the file where it has one.
    pub(super) fn effective<K: ValueType>(&self, key: &Key<K>) -> Option<At<K::Value>> {
        let (_, item) = self.items(&key.about).next()?;
        Some(item.at(key.of.read(&item, &mut Findings::silent())?))
    }

    /// The effective value: that of the file, of `[defaults]`, or the default of the key. None where the key has no default,
    /// or where an error was noted for its value.
    pub(super) fn get<K: ValueType>(&self, key: &Key<K>) -> Option<K::Value> {
        key.value(self)
    }

    /// As [`Self::get`], but a value with an error counts as left out: its key has its default.
    pub(super) fn get_or_default<K: ValueType>(&self, key: &Key<K>) -> Option<K::Value> {
        self.get(key).or_else(|| key.value(&View::absent(self.table)))
    }

    /// A table below this one, whose keys are looked up in the same layers.
    pub(super) fn group(&self, key: &Key<Group>) -> View<'t> {
        self.sub_table(&key.about, key.of.table, key.of.short)
    }

    /// As [`Self::group`], for a table of any type.
    pub(super) fn sub_table(&self, key: &About, table: &'static Table, short: Option<&'static str>) -> View<'t> {
        let mut layers: Vec<Layer<'t>> = Vec::new();
        let mut span = self.span.clone();
        for (level, item) in self.items(key) {
            let content = match (item.as_table(), short) {
                (Some(table), _) => Content::Table(table),
                (None, Some(name)) => Content::Short(name, item.clone()),
                (None, None) => continue,
            };
            if layers.is_empty() {
                span = item.table_span();
            }
            layers.push(Layer { level, content });
        }
        View { table, name: None, span, layers }
    }

    /// The tables that the file names below a key, in the order of the text.
    pub(super) fn named(&self, key: &Key<Named>) -> Vec<View<'t>> {
        self.named_tables(&key.about, key.of.table, key.of.below)
    }

    /// As [`Self::named`]; `below` is the key of the table that stands in for what the entries leave out.
    pub(super) fn named_tables(&self, key: &About, table: &'static Table, below: Option<&str>) -> Vec<View<'t>> {
        let below = below.and_then(|below| self.find(below)).and_then(|item| item.as_table());
        let below = below.map(|table| Layer { level: Level::Defaults, content: Content::Table(table) });
        let view = |entry: Item<'t>| {
            let own = Layer { level: Level::Own, content: Content::Table(entry.as_table()?) };
            let layers = std::iter::once(own).chain(below.clone()).collect();
            let name = Some(At { value: entry.name, span: entry.key_span.clone() });
            Some(View { table, name, span: entry.table_span(), layers })
        };
        let tables = self.items(key).next().and_then(|(_, item)| item.as_table());
        let entries = tables.map(entries).unwrap_or_default();
        entries.into_iter().take(MAX_ENTRIES).filter_map(view).collect()
    }

    /// The tables of an array, in their order.
    pub(super) fn tables<K: ValueType>(&self, key: &Key<K>, table: &'static Table) -> Vec<View<'t>> {
        let elements = self.items(&key.about).next().and_then(|(_, item)| item.as_array());
        let view = |element: &Item<'t>| Some(View::of(table, Level::Own, element.as_table()?, element.table_span()));
        elements.unwrap_or_default().iter().filter_map(view).collect()
    }

    fn find(&self, name: &str) -> Option<Item<'t>> {
        self.layers.iter().find_map(|layer| layer.content.find(name))
    }
}

impl<'t> Content<'t> {
    fn find(&self, name: &str) -> Option<Item<'t>> {
        match self {
            Self::Table(table) => find(table, name),
            Self::Short(key, item) => (*key == name).then(|| item.clone()),
        }
    }
}
