//! The effective value of each key of an accepted file, and where it comes from.
//!
//! Enters: the text of the file, which [`Spec`] keeps, and a path such as `containers.web.resources.memory`. Leaves: value,
//! origin, and what the table of keys says of the key. Nothing is remembered from the first reading: the layers are looked up
//! again by the same code.

use super::finding::Findings;
use super::grammar;
use super::item::{Item, entries, find};
use super::keys::{Row, Widens, file as keys};
use super::model::Spec;
use super::position::{Lines, Position};
use super::types::{Shape, toml_key};
use super::view::{Level, View};

/// Where an effective value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The default of the table of keys.
    BuiltIn,
    /// `[defaults]` of the file, here.
    Defaults(Position),
    /// `[policy]` of the file, here: it imposes the value. The policy of today asks for limits and imposes no value.
    Policy(Position),
    /// The image's config, which this crate does not know: see [`Explained::with_image_value`].
    Image,
    /// The key itself, here.
    File(Position),
}

/// The effective value of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The key, with the names that the file gives: `containers.web.resources.memory`.
    pub path: String,
    /// The name of the key alone.
    pub key: &'static str,
    /// The value as casemate writes it. None where the key is left out and has no default, or where the image's config says it.
    pub value: Option<String>,
    /// Where the value comes from.
    pub origin: Origin,
    /// The default in words, or as a value in backquotes.
    pub default: String,
    /// What the value means.
    pub meaning: &'static str,
    /// The file, call or rule of the kernel that the value ends in; empty where there is none.
    pub effect: &'static str,
    /// Which change weakens the confinement or the protection of the host.
    pub widens: Widens,
}

impl Explained {
    /// Fills in what the image's config says, written as in the file. Without effect for a value that does not come from it.
    #[must_use]
    pub fn with_image_value(self, value: Option<String>) -> Self {
        if self.origin == Origin::Image { Self { value, ..self } } else { self }
    }
}

impl Spec {
    /// The effective value of a key; None where no key of the table has this path, or the file has no such container, volume
    /// or element.
    pub fn explain(&self, path: &str) -> Option<Explained> {
        let parts = parts(path)?;
        let table = grammar::parse(&self.text, &mut Findings::silent());
        let root = View::of(&keys::TABLE, Level::Own, table.get_ref(), 0..0);
        Reader { lines: Lines::new(&self.text) }.explain(&root, Level::Own, "", &parts)
    }

    /// Every effective value of the file, in the order of the table of keys.
    pub fn values(&self) -> Vec<Explained> {
        let table = grammar::parse(&self.text, &mut Findings::silent());
        let root = View::of(&keys::TABLE, Level::Own, table.get_ref(), 0..0);
        let mut values = Vec::new();
        Reader { lines: Lines::new(&self.text) }.table(&root, Level::Own, "", &mut values);
        values
    }
}

struct Reader<'t> {
    lines: Lines<'t>,
}

impl<'t> Reader<'t> {
    /// Every value of a table.
    fn table(&self, view: &View<'t>, level: Level, path: &str, values: &mut Vec<Explained>) {
        for row in view.table.rows(level) {
            let path = below(path, row.about().name);
            if let Some(named) = row.named() {
                for entry in view.named_tables(row.about(), named.table, named.below) {
                    let name = entry.name.as_ref().map_or("", |name| name.value);
                    self.table(&entry, Level::Own, &below(&path, name), values);
                }
            } else if let Some(group) = row.group() {
                let inner = view.sub_table(row.about(), group.table, group.short);
                self.table(&inner, group.level.unwrap_or(level), &path, values);
            } else {
                self.value(view, row, path, values);
            }
        }
    }

    /// The value of a key: of each of its keys where it is a table or a list of tables, else as one.
    fn value(&self, view: &View<'t>, row: &'static dyn Row, path: String, values: &mut Vec<Explained>) {
        let inner = whole_table(&row.shape());
        if let (Some((from, item)), Some(inner)) = (view.items(row.about()).next(), inner) {
            let elements = item.as_array().unwrap_or_default();
            let tables: Vec<_> = elements.iter().filter_map(|element| Some((element, element.as_table()?))).collect();
            for (number, (element, table)) in tables.iter().enumerate() {
                let inner = View::of(inner, from, table, element.table_span());
                self.table(&inner, Level::Own, &format!("{path}[{number}]"), values);
            }
            if let Some(table) = item.as_table() {
                self.table(&View::of(inner, from, table, item.table_span()), Level::Own, &path, values);
            }
            if !tables.is_empty() || item.as_table().is_some() {
                return;
            }
        }
        values.push(self.leaf(view, row, path));
    }

    /// The value that a path leads to.
    fn explain(&self, view: &View<'t>, level: Level, path: &str, parts: &[Part]) -> Option<Explained> {
        let (Part::Name(name), rest) = parts.split_first()? else { return None };
        let row = view.table.rows(level).find(|row| row.about().name == name)?;
        let path = below(path, name);
        if rest.is_empty() {
            return Some(self.leaf(view, row, path));
        }
        if let Some(named) = row.named() {
            let (Part::Name(name), rest) = rest.split_first()? else { return None };
            let mut tables = view.named_tables(row.about(), named.table, named.below).into_iter();
            let entry = tables.find(|entry| entry.name.as_ref().is_some_and(|known| known.value == name))?;
            return self.explain(&entry, Level::Own, &below(&path, name), rest);
        }
        if let Some(group) = row.group() {
            let inner = view.sub_table(row.about(), group.table, group.short);
            return self.explain(&inner, group.level.unwrap_or(level), &path, rest);
        }
        self.inside(view, row, &path, rest)
    }

    /// A part of a value that is a table, a list of tables, or a table whose keys the file chooses.
    fn inside(&self, view: &View<'t>, row: &'static dyn Row, path: &str, parts: &[Part]) -> Option<Explained> {
        let shape = row.shape();
        let (first, rest) = parts.split_first()?;
        let stated = view.items(row.about()).next();
        match (first, &shape) {
            (Part::Index(number), _) => {
                let (level, item) = stated?;
                let element = item.as_array()?.into_iter().nth(*number)?;
                let inner = View::of(whole_table(&shape)?, level, element.as_table()?, element.table_span());
                self.explain(&inner, Level::Own, &format!("{path}[{number}]"), rest)
            }
            (Part::Name(name), Shape::Map { of, .. }) => {
                let (level, item) = stated?;
                let entry = find(item.as_table()?, name)?;
                let path = below(path, name);
                if rest.is_empty() {
                    let origin = self.origin(level, &entry);
                    return Some(Explained { value: entry.toml(), origin, ..self.leaf(view, row, path) });
                }
                let inner = View::of(whole_table(of)?, level, entry.as_table()?, entry.table_span());
                self.explain(&inner, Level::Own, &path, rest)
            }
            (Part::Name(_), _) => {
                let inner = whole_table(&shape)?;
                let table = stated.and_then(|(level, item)| Some((level, item.as_table()?, item.table_span())));
                let view = match table {
                    Some((level, table, span)) => View::of(inner, level, table, span),
                    None => View::absent(inner),
                };
                self.explain(&view, Level::Own, path, parts)
            }
        }
    }

    fn leaf(&self, view: &View<'t>, row: &'static dyn Row, path: String) -> Explained {
        let about = row.about();
        let origin = match view.items(about).next() {
            Some((level, item)) => self.origin(level, &item),
            None if row.is_from_image() => Origin::Image,
            None => Origin::BuiltIn,
        };
        Explained {
            path,
            key: about.name,
            value: row.effective_text(view),
            origin,
            default: row.default_description(),
            meaning: about.meaning,
            effect: about.effect,
            widens: about.widens,
        }
    }

    fn origin(&self, level: Level, item: &Item<'_>) -> Origin {
        let position = self.lines.position(item.table_span().start);
        if level == Level::Own { Origin::File(position) } else { Origin::Defaults(position) }
    }
}

/// The table of keys of a value that is a table, or a list of tables.
fn whole_table(shape: &Shape) -> Option<&'static super::keys::Table> {
    match shape {
        Shape::Map { .. } | Shape::Named(_) => None,
        shape => shape.tables().first().map(|(table, _)| *table),
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { toml_key(name) } else { format!("{path}.{}", toml_key(name)) }
}

/// One part of a path.
enum Part {
    Name(String),
    Index(usize),
}

/// The parts of a path as TOML writes dotted keys, with the number of an element in brackets: `a."b.c".d[0].e`.
fn parts(path: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = path;
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        parts.push(Part::Name(name.to_owned()));
        rest = after;
        while let Some(bracket) = rest.strip_prefix('[') {
            let (number, after) = bracket.split_once(']')?;
            parts.push(Part::Index(number.parse().ok()?));
            rest = after;
        }
        match rest.strip_prefix('.') {
            Some(next) => rest = next,
            None => return rest.is_empty().then_some(parts),
        }
    }
}

impl Item<'_> {
    /// A value of any type as TOML writes it.
    fn toml(&self) -> Option<String> {
        if let Some(text) = self.as_str() {
            return Some(super::types::toml_string(text));
        }
        if let Some(elements) = self.as_array() {
            let elements: Option<Vec<_>> = elements.iter().map(Item::toml).collect();
            return Some(format!("[{}]", elements?.join(", ")));
        }
        if let Some(table) = self.as_table() {
            let pair = |entry: &Item<'_>| Some(format!("{} = {}", toml_key(entry.name), entry.toml()?));
            let pairs: Option<Vec<_>> = entries(table).iter().map(pair).collect();
            return Some(format!("{{ {} }}", pairs?.join(", ")));
        }
        let number = || self.as_float().map(|number| number.to_string());
        let integer = self.as_integer().flatten().map(|integer| integer.to_string());
        integer.or_else(|| self.as_bool().map(|truth| truth.to_string())).or_else(number)
    }
}
