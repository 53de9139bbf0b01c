//! `casemate image ls`.

use super::text;
use crate::cli::{Error, Global};
use crate::image::{Record, Store, rfc3339};
use crate::launch::{self, Role};
use serde::Serialize;

/// List the images of the store
#[derive(Debug, clap::Args)]
pub struct Ls {
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
}

impl Ls {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let session = launch::enter(global.directories()?, Role::Store)?;
        let records = Store::open(&session.directories.state)?.records()?;
        if self.json {
            return text::print_json(&records.iter().map(row).collect::<Vec<_>>());
        }
        text::print(&table(&records))
    }
}

fn row(record: &Record) -> Row<'_> {
    Row {
        names: &record.names,
        pin: record.pin.to_string(),
        manifest: record.manifest.to_string(),
        bytes: record.bytes(),
        layers: record.layers.len(),
        imported: rfc3339(record.imported),
    }
}

/// One line a name; a digest is shown as far as it tells images apart for people, `inspect` shows the whole.
fn table(records: &[Record]) -> String {
    let mut lines = vec![format!("{:<36} {:<12} {:>9} {:>6}  IMPORTED\n", "NAME", "DIGEST", "SIZE", "LAYERS")];
    for record in records {
        let digest: String = record.pin.hex().chars().take(12).collect();
        let size = text::size(record.bytes());
        let date: String = rfc3339(record.imported).chars().take(10).collect();
        let rest = format!("{digest} {size:>9} {:>6}  {date}\n", record.layers.len());
        lines.extend(record.names.iter().map(|name| format!("{} {rest}", text::fit(name, 36))));
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_wire::Digest;

    #[test]
    fn a_table_is_no_wider_than_80_columns() {
        let pin = Digest::from_bytes([0xab; 32]);
        let record = Record {
            pin,
            media_type: String::new(),
            size: 0,
            manifest: pin,
            names: vec!["docker.io/library/a".to_owned(), format!("registry.example/{}:1", "x".repeat(60))],
            imported: 1_800_000_000,
            blobs: vec![(pin, 123_456_789)],
            layers: vec![pin; 127],
        };
        let table = table(&[record]);
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        let first = table.lines().nth(1).unwrap();
        assert_eq!(first, "docker.io/library/a                  abababababab   117 MiB    127  2027-01-15");
    }
}
