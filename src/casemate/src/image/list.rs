//! `casemate image ls`.

use super::{entered, opened};
use crate::print;
use crate::{Error, Global, escaped};
use casemate_engine::launch::Role;
use casemate_image::documents::rfc3339;
use casemate_image::store::{ReadOnlyStore, Record};
use casemate_image::{self as image, Store};
use serde::Serialize;
use std::path::Path;

/// List the images of the store
#[derive(Debug, clap::Args)]
pub struct Ls {
    /// Show full names and digests
    #[arg(long)]
    no_trunc: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    names: &'a [String],
    pin: String,
    manifest: String,
    bytes: u64,
    layers: usize,
    imported: String,
    /// The read-only store that the image is used from.
    #[serde(skip_serializing_if = "Option::is_none")]
    preloaded: Option<&'a Path>,
}

impl Ls {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let (session, _) = entered(global, Role::Store)?;
        let store = opened(&session)?;
        let records = store.all_records()?;
        if self.json {
            let rows = records.iter().map(|record| Ok(row(record, store.read_only_store_of(&record.pin)?)));
            return print::json(&rows.collect::<Result<Vec<_>, Error>>()?);
        }
        let table = if self.no_trunc { whole(&records) } else { table(&records) };
        let read_only = store.read_only().iter().map(|other| Ok(line_of(&store, other, &records)?));
        print::text(&(table + &read_only.collect::<Result<String, Error>>()?))
    }
}

/// The line below the table: images in a read-only store.
fn line_of(store: &Store, other: &ReadOnlyStore, records: &[Record]) -> Result<String, image::Error> {
    let mut pins = Vec::new();
    for record in records {
        if store.read_only_store_of(&record.pin)? == Some(other.path()) {
            pins.push(record.pin.hex().chars().take(12).collect::<String>());
        }
    }
    let pins = if pins.is_empty() { "none of these".to_owned() } else { pins.join(" ") };
    Ok(format!("read-only store {}: {pins}\n", escaped(&other.path().to_string_lossy())))
}

fn row<'a>(record: &'a Record, read_only_store: Option<&'a Path>) -> Row<'a> {
    Row {
        names: &record.names,
        pin: record.pin.to_string(),
        manifest: record.manifest.to_string(),
        bytes: record.bytes(),
        layers: record.layers.len(),
        imported: rfc3339(record.imported),
        preloaded: read_only_store,
    }
}

/// As [`table`], without truncation: NAME@DIGEST is `image` in the file.
fn whole(records: &[Record]) -> String {
    let names = records.iter().flat_map(|record| &record.names);
    let width = names.map(|name| escaped(name).chars().count()).max().unwrap_or(0).max(4);
    let mut lines = vec![format!("{:<width$} {:<71} {:>9} {:>6}  IMPORTED\n", "NAME", "DIGEST", "SIZE", "LAYERS")];
    for record in records {
        let rest = rest(record, &record.pin.to_string());
        lines.extend(record.names.iter().map(|name| format!("{} {rest}", print::column(name, width))));
    }
    lines.concat()
}

/// The columns after the name.
fn rest(record: &Record, digest: &str) -> String {
    let size = print::size(record.bytes());
    let date: String = rfc3339(record.imported).chars().take(10).collect();
    format!("{digest} {size:>9} {:>6}  {date}\n", record.layers.len())
}

/// One line per name, with the first 12 digits of the digest.
fn table(records: &[Record]) -> String {
    let mut lines = vec![format!("{:<36} {:<12} {:>9} {:>6}  IMPORTED\n", "NAME", "DIGEST", "SIZE", "LAYERS")];
    for record in records {
        let digest: String = record.pin.hex().chars().take(12).collect();
        let rest = rest(record, &digest);
        lines.extend(record.names.iter().map(|name| format!("{} {rest}", print::column(name, 36))));
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_wire::Digest;

    #[test]
    fn table_fits_into_80_columns() {
        let pin = Digest::from_bytes([0xab; 32]);
        let record = Record {
            pin,
            media_type: String::new(),
            size: 0,
            manifest: pin,
            names: vec!["docker.io/library/a".to_owned(), format!("registry.example/{}:1", "x".repeat(60))],
            imported: 1_800_000_000,
            held: false,
            blobs: vec![(pin, 123_456_789)],
            layers: vec![pin; 127],
        };
        let records = [record];
        let whole = whole(&records);
        // The heading of the last column is shorter than a date.
        assert_eq!(whole.lines().skip(1).map(str::len).collect::<std::collections::BTreeSet<_>>().len(), 1, "{whole}");
        assert!(whole.contains(&format!("{} {pin} ", "x".repeat(60) + ":1")), "{whole}");
        let table = table(&records);
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        let first = table.lines().nth(1).unwrap();
        assert_eq!(first, "docker.io/library/a                  abababababab   117 MiB    127  2027-01-15");
    }
}
