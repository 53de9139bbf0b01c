//! The table of keys: everything that casemate.toml may say, one row a key.
//!
//! [`file`] has the keys of the whole file, [`container`] those of a container, [`confinement`] those of its limits and its
//! confinement. A row holds the name, the type of the value, what holds where the key is left out, what the key means, what it
//! becomes in the kernel, and which change of it is the weaker one. The checks of a file, the errors for unknown keys, the model
//! of a file ([`crate::Spec`]), `explain`, the reference, the JSON Schema and config/casemate.toml are all made from these rows.
//!
//! A new key is a row here, a field of the type that it lands in (src/model), and the code that uses the field.

mod advice;
pub(crate) mod confinement;
pub(crate) mod container;
pub(crate) mod file;

pub(crate) use advice::unknown_key;

use crate::finding::Findings;
use crate::item::Item;
use crate::types::{Group, Named, Shape, ValueType};
use crate::view::{Level, View};

/// A table of the file: its path and its keys, in the order of the documents.
pub(crate) struct Table {
    /// Where it stands: `containers.NAME.resources`; empty for the file itself.
    pub(crate) path: &'static str,
    /// What it is for, for the documents.
    pub(crate) about: &'static str,
    /// Its keys.
    pub(crate) rows: &'static [&'static dyn Row],
}

/// One key: what the documents say of it, the type of its value, its default.
pub(crate) struct Key<K: ValueType> {
    pub(crate) about: About,
    pub(crate) of: K,
    pub(crate) default: Default<K::Value>,
}

/// What the documents say of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    /// One line: what the value means.
    pub(crate) meaning: &'static str,
    /// The file, call or rule of the kernel that the value ends in; empty where there is none.
    pub(crate) effect: &'static str,
    /// Which change weakens the confinement of the container or the protection of the host.
    pub(crate) widens: Widens,
    /// A value for config/casemate.toml; empty: its default.
    pub(crate) example: &'static str,
    /// A value for the second container there; empty: the key is not shown in it.
    pub(crate) second: &'static str,
    reach: Reach,
    /// Values of `[defaults]` are added to those of a container.
    joined: bool,
    /// Its table states it, although it has a default where the table is left out.
    stated: bool,
}

/// Where a key of `[containers.NAME]` and its sub-tables may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Own,
    /// In `[defaults]` as well, for containers that leave it out.
    Shared,
    /// In `[defaults]` only.
    Defaults,
}

/// What holds where a key is left out.
pub(crate) enum Default<T: 'static> {
    /// Nothing: the key is required.
    Required,
    /// This value.
    BuiltIn(fn() -> T),
    /// A value that follows from other keys of its table; the text says how.
    Derived(&'static str, fn(&View<'_>) -> Option<T>),
    /// What the image's config says.
    Image(&'static str),
    /// Nothing; the text says what that means.
    Absent(&'static str),
}

/// Which change of a value weakens the confinement of a container or the protection of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Widens {
    /// None: the key does not bear on either.
    Never,
    /// A larger number; no number at all is the largest.
    Larger,
    /// A smaller number; no number at all is the smallest.
    Smaller,
    /// `true`.
    True,
    /// `false`.
    False,
    /// A further entry.
    Entry,
    /// A further entry, or no list at all, which allows everything.
    EntryOrAbsence,
    /// An entry taken away.
    FewerEntries,
    /// A word further to the right of these.
    Words(&'static [&'static str]),
    /// Any other value: the file alone does not show which of two is the weaker.
    AnyChange,
}

/// A key whatever the type of its value, as the checks and the documents see it.
pub(crate) trait Row: Sync {
    fn about(&self) -> &About;
    /// What may be written.
    fn shape(&self) -> Shape;
    /// Notes what is wrong with a value.
    fn check(&self, item: &Item<'_>, level: Level, out: &mut Findings<'_>);
    /// Whether a table without the key is an error.
    fn is_required(&self) -> bool;
    /// A value, written as casemate writes it.
    fn text(&self, item: &Item<'_>) -> Option<String>;
    /// The effective value in a table that may leave the key out, written as casemate writes it.
    fn effective_text(&self, view: &View<'_>) -> Option<String>;
    /// The default in words, or as a value in backquotes; empty where there is nothing to say.
    fn default_description(&self) -> String;
    /// The default as a value, where it is always the same.
    fn default_text(&self) -> Option<String>;
    /// It is the image's config that says what holds where the key is left out.
    fn is_from_image(&self) -> bool;
    /// The table whose keys are looked up one by one, where the key is one.
    fn group(&self) -> Option<&Group>;
    /// The tables that the file names, where the key is for such.
    fn named(&self) -> Option<&Named>;
    /// A value to copy and then change.
    fn example(&self) -> String {
        let example = self.about().example;
        if example.is_empty() { self.default_text().unwrap_or_default() } else { example.to_owned() }
    }
}

/// A row of the table.
pub(crate) const fn key<K: ValueType>(name: &'static str, of: K, meaning: &'static str) -> Key<K> {
    let about = About {
        name,
        meaning,
        effect: "",
        widens: Widens::Never,
        example: "",
        second: "",
        reach: Reach::Own,
        joined: false,
        stated: false,
    };
    Key { about, of, default: Default::Absent("") }
}

impl<K: ValueType> Key<K> {
    /// A file without the key is refused.
    pub(crate) const fn required(mut self) -> Self {
        self.default = Default::Required;
        self
    }

    pub(crate) const fn built_in(mut self, value: fn() -> K::Value) -> Self {
        self.default = Default::BuiltIn(value);
        self
    }

    pub(crate) const fn derived(mut self, words: &'static str, value: fn(&View<'_>) -> Option<K::Value>) -> Self {
        self.default = Default::Derived(words, value);
        self
    }

    pub(crate) const fn image_default(mut self, words: &'static str) -> Self {
        self.default = Default::Image(words);
        self
    }

    pub(crate) const fn absent(mut self, words: &'static str) -> Self {
        self.default = Default::Absent(words);
        self
    }

    /// Set in every table that is written, although a default holds where the table is left out.
    pub(crate) const fn stated(mut self) -> Self {
        self.about.stated = true;
        self
    }

    pub(crate) const fn effect(mut self, effect: &'static str) -> Self {
        self.about.effect = effect;
        self
    }

    pub(crate) const fn widens(mut self, widens: Widens) -> Self {
        self.about.widens = widens;
        self
    }

    /// The value in config/casemate.toml.
    pub(crate) const fn example(mut self, value: &'static str) -> Self {
        self.about.example = value;
        self
    }

    /// The value of the second container in config/casemate.toml.
    pub(crate) const fn second(mut self, value: &'static str) -> Self {
        self.about.second = value;
        self
    }

    /// `[defaults]` may have the key as well.
    pub(crate) const fn in_defaults(mut self) -> Self {
        self.about.reach = Reach::Shared;
        self
    }

    /// Only `[defaults]` has the key.
    pub(crate) const fn only_in_defaults(mut self) -> Self {
        self.about.reach = Reach::Defaults;
        self
    }

    /// `[defaults]` may have the key as well, and its entries are added to the container's.
    pub(crate) const fn joined_with_defaults(mut self) -> Self {
        self.about.joined = true;
        self.in_defaults()
    }

    /// The effective value in a table. None where an error was noted, or where the key has no default.
    pub(crate) fn value(&self, view: &View<'_>) -> Option<K::Value> {
        let mut items = view.items(&self.about).map(|(_, item)| item);
        let Some(first) = items.next() else { return self.default_value(view) };
        let mut value = self.of.read(&first, &mut Findings::silent())?;
        if self.about.joined {
            for item in items {
                value = self.of.join(value, self.of.read(&item, &mut Findings::silent())?);
            }
        }
        Some(value)
    }

    fn default_value(&self, view: &View<'_>) -> Option<K::Value> {
        match self.default {
            Default::BuiltIn(value) => Some(value()),
            Default::Derived(_, value) => value(view),
            Default::Required | Default::Image(_) | Default::Absent(_) => None,
        }
    }
}

impl<K: ValueType> Row for Key<K> {
    fn about(&self) -> &About {
        &self.about
    }

    fn shape(&self) -> Shape {
        self.of.shape()
    }

    fn check(&self, item: &Item<'_>, level: Level, out: &mut Findings<'_>) {
        self.of.check(item, level, out);
    }

    fn is_required(&self) -> bool {
        self.about.stated || matches!(self.default, Default::Required)
    }

    fn text(&self, item: &Item<'_>) -> Option<String> {
        self.of.text(item)
    }

    fn effective_text(&self, view: &View<'_>) -> Option<String> {
        let mut items = view.items(&self.about).map(|(_, item)| item);
        match (items.next(), items.next()) {
            (Some(item), None) => self.of.text(&item),
            (Some(item), Some(_)) if !self.about.joined => self.of.text(&item),
            _ => self.value(view).map(|value| self.of.show(&value)),
        }
    }

    fn default_description(&self) -> String {
        match self.default {
            Default::Required => "required".to_owned(),
            Default::BuiltIn(value) => format!("`{}`", self.of.show(&value())),
            Default::Derived(words, _) | Default::Image(words) | Default::Absent(words) => words.to_owned(),
        }
    }

    fn default_text(&self) -> Option<String> {
        match self.default {
            Default::BuiltIn(value) => Some(self.of.show(&value())),
            _ => None,
        }
    }

    fn is_from_image(&self) -> bool {
        matches!(self.default, Default::Image(_))
    }

    fn group(&self) -> Option<&Group> {
        self.of.group()
    }

    fn named(&self) -> Option<&Named> {
        self.of.named()
    }
}

impl Table {
    /// The keys that the table has in a file: all, or those of `[defaults]`. A table in which no row is marked for one of the
    /// two is the same in both.
    pub(crate) fn rows(&self, level: Level) -> impl Iterator<Item = &'static dyn Row> {
        let marked = self.rows.iter().any(|row| row.about().reach != Reach::Own);
        let other = if level == Level::Own { Reach::Defaults } else { Reach::Own };
        self.rows.iter().copied().filter(move |row| !marked || row.about().reach != other)
    }

    /// Whether a key may stand in the table.
    pub(crate) fn has(&self, level: Level, key: &About) -> bool {
        self.rows(level).any(|row| row.about().name == key.name)
    }

    /// The table as messages and documents name it: `[containers.NAME.resources]`.
    pub(crate) fn heading(&self, level: Level) -> String {
        let path = self.path_in(level);
        match path.strip_suffix("[]") {
            _ if path.is_empty() => "the file".to_owned(),
            None => format!("[{path}]"),
            Some(array) => match array.rsplit_once('.') {
                Some((_, key)) => format!("a table of `{key}`"),
                None => format!("[[{array}]]"),
            },
        }
    }

    /// The path, in `[defaults]` where that is meant.
    pub(crate) fn path_in(&self, level: Level) -> String {
        match (level, self.path.strip_prefix(container::TABLE.path)) {
            (Level::Defaults, Some(rest)) => format!("{}{rest}", file::DEFAULTS.about.name),
            _ => self.path.to_owned(),
        }
    }
}

/// A key at one place: `restart` of a container and `restart` of `[defaults]` are two.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) table: &'static Table,
    pub(crate) level: Level,
    pub(crate) row: &'static dyn Row,
}

impl Entry {
    pub(crate) fn path(&self) -> String {
        let table = self.table.path_in(self.level);
        let name = self.row.about().name;
        if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
    }
}

/// Every table with its level, from top to bottom, each before those below it.
pub(crate) fn tables() -> Vec<(&'static Table, Level)> {
    fn below(table: &'static Table, level: Level, found: &mut Vec<(&'static Table, Level)>) {
        found.push((table, level));
        for row in table.rows(level) {
            for (inner, entered) in row.shape().tables() {
                below(inner, entered.unwrap_or(level), found);
            }
        }
    }
    let mut found = Vec::new();
    below(&file::TABLE, Level::Own, &mut found);
    found
}

/// Every key, from top to bottom.
pub(crate) fn entries() -> Vec<Entry> {
    let of = |(table, level): (&'static Table, Level)| table.rows(level).map(move |row| Entry { table, level, row });
    tables().into_iter().flat_map(of).collect()
}

/// A table of keys: each line becomes a static of that name, and the table lists them in this order.
macro_rules! table {
    ($table:ident $path:literal $about:literal { $($key:ident: $kind:ty = $row:expr;)* }) => {
        $(pub(crate) static $key: Key<$kind> = $row;)*
        pub(crate) static $table: Table = Table { path: $path, about: $about, rows: &[$(&$key),*] };
    };
}
pub(crate) use table;
