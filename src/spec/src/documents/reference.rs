//! The reference of keys: docs/reference.md, and the same as plain text for a terminal.

use super::{sample, wrap};
use crate::keys::{Entry, Row, Table, Widens, entries, tables};
use crate::nearest::nearest;
use crate::view::Level;
use std::collections::BTreeSet;

const WIDTH: usize = 98;

const INTRODUCTION: &str = "# Keys of casemate.toml

<!-- Generated from src/spec/src/keys by `CASEMATE_BLESS=1 cargo test -p casemate-spec`. -->

Every key of the file, table by table: what may be written, what holds where the key is left out,
what it becomes in the kernel, and which change is the weaker one. `casemate keys` prints the same,
[casemate.schema.json](casemate.schema.json) has it for editors, and
[config/casemate.toml](../config/casemate.toml) shows every key in one file.

- The file is TOML 1.0. A key that is not in this list is an error. Nothing is taken from the
  environment: a file means one thing.
- A size is a text such as `\"512MiB\"` (B, KiB, MiB, GiB, TiB) or a number of bytes. A limit is never
  0 or unlimited.
- A duration is a text such as `\"10s\"`, `\"1m30s\"` or `\"500ms\"`.
- Not keys, because they cannot be turned off: images pinned by digest, a uid other than 0,
  no_new_privs, namespaces for every container, empty capability sets, seccomp, Landlock.
- Weaker: the change that takes protection away from the container or the host.
";

/// docs/reference.md.
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (table, level) in tables() {
        text.push_str(&format!("\n## {}\n\n", table.heading(level)));
        let (copied, own) = parted(table, level);
        for line in wrap(&format!("{}.", about(table, level)), WIDTH) {
            text.push_str(&format!("{line}\n"));
        }
        if !copied.is_empty() {
            text.push('\n');
            for line in wrap(&format!("As in {}: {}.", table.heading(Level::Own), copied.join(", ")), WIDTH) {
                text.push_str(&format!("{line}\n"));
            }
        }
        text.push_str(if own.is_empty() { "" } else { "\n" });
        for row in own {
            let first = format!("**`{}`**: {}", row.about().name, row.about().meaning);
            for (number, line) in wrap(&first, WIDTH - 2).iter().chain(&wrap(&facts(row), WIDTH - 2)).enumerate() {
                text.push_str(&format!("{}{line}\n", if number == 0 { "- " } else { "  " }));
            }
        }
    }
    text
}

/// The reference as plain text: of the whole file, of one table (`containers.NAME`, or `containers.web`), or of one key. None
/// where there is no such table or key.
pub fn help(path: &str, width: usize) -> Option<String> {
    let mut text = String::new();
    let wanted = |known: &str| path.is_empty() || matches(known, path);
    let whole = |table: &Table, level| wanted(&table.path_in(level));
    for (table, level) in tables().into_iter().filter(|(table, level)| whole(table, *level)) {
        text.push_str(&format!("{}\n", table.heading(level)));
        for line in wrap(&about(table, level), width.saturating_sub(2)) {
            text.push_str(&format!("  {line}\n"));
        }
        text.push('\n');
        for row in table.rows(level) {
            text.push_str(&entry(row.about().name, row, width));
        }
    }
    if text.is_empty() {
        let mut found: Vec<Entry> = entries().into_iter().filter(|entry| matches(&entry.path(), path)).collect();
        // The last part alone names a key too, where it names one only or all that have the name.
        if found.is_empty() && !path.contains('.') {
            found = entries().into_iter().filter(|entry| entry.row.about().name == path).collect();
        }
        for key in found {
            text.push_str(&entry(&key.path(), key.row, width));
        }
    }
    (!text.is_empty()).then(|| text.trim_end().to_owned() + "\n")
}

/// The key that the last part of a mistyped path was meant to be.
pub fn nearest_key(path: &str) -> Option<&'static str> {
    let names: BTreeSet<&'static str> = entries().iter().map(|entry| entry.row.about().name).collect();
    nearest(path.rsplit('.').next()?, names)
}

fn entry(name: &str, row: &dyn Row, width: usize) -> String {
    let lines = [wrap(row.about().meaning, width.saturating_sub(6)), wrap(&facts(row), width.saturating_sub(6))];
    let mut text = format!("  {name}\n");
    for line in lines.iter().flatten() {
        text.push_str(&format!("      {line}\n"));
    }
    text.push('\n');
    text
}

/// What is known of a key besides its meaning.
fn facts(row: &dyn Row) -> String {
    let about = row.about();
    let mut facts = vec![row.shape().description()];
    match row.default_description() {
        default if default.is_empty() => {}
        default if default == "required" => facts.push(default),
        default => facts.push(format!("default: {default}")),
    }
    if !about.effect.is_empty() {
        facts.push(format!("kernel: {}", about.effect));
    }
    if about.widens != Widens::Never {
        facts.push(format!("weaker: {}", about.widens.description()));
    }
    let example = sample(row);
    if !example.is_empty() && !example.contains('\n') && row.default_text().as_deref() != Some(&example) {
        facts.push(format!("example: `{} = {example}`", about.name));
    }
    facts.join("; ")
}

/// The keys of a table of `[defaults]` that are described with those of a container, and the keys that are its own.
fn parted(table: &'static Table, level: Level) -> (Vec<String>, Vec<&'static dyn Row>) {
    let shared = |row: &&'static dyn Row| level == Level::Defaults && table.has(Level::Own, row.about());
    let copied = table.rows(level).filter(shared).map(|row| format!("`{}`", row.about().name)).collect();
    (copied, table.rows(level).filter(|row| !shared(row)).collect())
}

fn about(table: &Table, level: Level) -> String {
    if level == Level::Own { table.about.to_owned() } else { "For containers that leave the key out".to_owned() }
}

/// Whether a path of the table of keys is the one that is asked for: a name stands for any.
fn matches(known: &str, asked: &str) -> bool {
    let plain = |part: &str| part.trim_end_matches("[]").to_owned();
    let known: Vec<String> = known.split('.').map(plain).collect();
    let asked: Vec<String> = asked.split('.').map(plain).collect();
    let is_name = |part: &str| part == "NAME" || part.starts_with("\"HOST");
    known.len() == asked.len() && known.iter().zip(&asked).all(|(known, asked)| known == asked || is_name(known))
}
