//! What a value may look like in the file: the common ground of the reference and the JSON Schema.

use super::scalar::show_size;
use crate::keys::Table;
use crate::view::Level;

/// What a value may look like in the file.
pub(crate) enum Shape {
    Boolean,
    /// This value and no other, as it is written.
    Fixed(&'static str),
    Integer {
        least: u64,
        most: u64,
    },
    Number {
        least: f64,
        most: f64,
    },
    /// A text with a unit, or a number of bytes.
    Size {
        least: u64,
    },
    Duration,
    Date,
    /// A string: its form in words, and the regular expression that every such string matches.
    Text {
        form: &'static str,
        pattern: &'static str,
    },
    Words(Vec<&'static str>),
    List {
        of: Box<Shape>,
        words: &'static str,
        most: Option<u64>,
    },
    /// A table whose keys the file chooses.
    Map {
        of: Box<Shape>,
        words: &'static str,
        keys: Vec<&'static str>,
    },
    /// A table with these keys; the level where entering it changes that.
    Table(&'static Table, Option<Level>),
    /// Tables that the file names.
    Named(&'static Table),
    OneOf(Vec<Shape>),
}

impl Shape {
    /// The tables of keys in a value.
    pub(crate) fn tables(&self) -> Vec<(&'static Table, Option<Level>)> {
        match self {
            Self::Table(table, level) => vec![(*table, *level)],
            Self::Named(table) => vec![(*table, None)],
            Self::List { of, .. } | Self::Map { of, .. } => of.tables(),
            Self::OneOf(shapes) => shapes.iter().flat_map(Self::tables).collect(),
            _ => Vec::new(),
        }
    }

    /// The shape in words.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Fixed(text) => format!("only `{text}`"),
            Self::Integer { least, most } if *most == u64::MAX >> 1 => format!("whole number, {least} or more"),
            Self::Integer { least, most } => format!("whole number from {least} to {most}"),
            Self::Number { least, most } => format!("number from {least} to {most}"),
            Self::Size { least: 0 } => "size, 0 or more".to_owned(),
            Self::Size { least: 1 } => "size".to_owned(),
            Self::Size { least } => format!("size, {} or more", show_size(*least)),
            Self::Duration => "duration from 1ms to 168h".to_owned(),
            Self::Date => "date".to_owned(),
            Self::Text { form, .. } => (*form).to_owned(),
            Self::Words(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(" | "),
            Self::List { words, .. } | Self::Map { words, .. } => (*words).to_owned(),
            Self::Table(..) => "table".to_owned(),
            Self::Named(_) => "tables that the file names".to_owned(),
            Self::OneOf(shapes) => shapes.iter().map(Self::description).collect::<Vec<_>>().join(", or "),
        }
    }
}
