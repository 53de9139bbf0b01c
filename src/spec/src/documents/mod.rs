//! What is made from the table of keys for readers and tools: the reference, the help of a key, the JSON Schema, the file that
//! shows every key.

mod example;
mod reference;
mod schema;

pub use example::example;
pub use reference::{help, nearest_key, reference};
pub use schema::schema;

use super::keys::{Entry, Row, Widens};

/// One key of the file, as the documents have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// `containers.NAME.resources.memory`; `[]` stands behind the key of a list of tables.
    pub path: String,
    /// What may be written, in words.
    pub value: String,
    /// The default in words, or as a value in backquotes.
    pub default: String,
    /// What the value means.
    pub meaning: &'static str,
    /// The file, call or rule of the kernel that the value ends in; empty where there is none.
    pub effect: &'static str,
    /// Which change weakens the confinement or the protection of the host.
    pub widens: Widens,
}

/// Every key, in the order of the table of keys; those of `[defaults]` have paths of their own.
pub fn keys() -> Vec<KeyInfo> {
    let info = |entry: &Entry| {
        let about = entry.row.about();
        KeyInfo {
            path: entry.path(),
            value: entry.row.shape().description(),
            default: entry.row.default_description(),
            meaning: about.meaning,
            effect: about.effect,
            widens: about.widens,
        }
    };
    super::keys::entries().iter().map(info).collect()
}

impl Widens {
    /// The weaker change in words; empty where there is none.
    pub fn description(self) -> String {
        match self {
            Self::Never => String::new(),
            Self::Larger => "a larger value".to_owned(),
            Self::Smaller => "a smaller value".to_owned(),
            Self::True => "`true`".to_owned(),
            Self::False => "`false`".to_owned(),
            Self::Entry => "each entry".to_owned(),
            Self::EntryOrAbsence => "each entry, and leaving it out".to_owned(),
            Self::FewerEntries => "fewer entries".to_owned(),
            Self::Words(words) => words.last().map(|word| format!("`\"{word}\"`")).unwrap_or_default(),
            Self::AnyChange => "any change needs a review".to_owned(),
        }
    }
}

/// A value to copy: the example, the default, or the value in the words of the default.
fn sample(row: &dyn Row) -> String {
    let example = row.example();
    if example.is_empty() {
        row.default_description().split('`').nth(1).unwrap_or_default().to_owned()
    } else {
        example
    }
}

/// Breaks a text into lines of at most this width, at blanks outside of backquotes.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in text.chars().chain([' ']) {
        quoted ^= c == '`';
        if c != ' ' || quoted {
            word.push(c);
            continue;
        }
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word.clone()),
        }
        word.clear();
    }
    lines
}
