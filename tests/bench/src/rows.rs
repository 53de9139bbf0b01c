//! The rows of the table: their names, how they are printed, what stands in bench.json.
//!
//! README quotes this table; tests/documents.rs compares the names there with the names here.

use crate::measure::Samples;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What is measured, in the words of the table.
pub mod name {
    /// Request to exit, all protections on.
    pub const START: &str = "request to exit of /bin/true";
    /// Helper and manager, one container running.
    pub const MEMORY_1: &str = "memory of our processes, 1 container";
    /// Helper and manager, ten containers running.
    pub const MEMORY_10: &str = "memory of our processes, 10 containers";
    /// Helper and manager, a hundred containers running.
    pub const MEMORY_100: &str = "memory of our processes, 100 containers";
    /// What one more running container adds.
    pub const MEMORY_EXTRA: &str = "memory per extra container";
    /// File read to all running.
    pub const MANY: &str = "100 containers from one file, all running";
    /// One large layer, both digests proven.
    pub const UNPACK_ONE: &str = "unpack of one large layer";
    /// The same files in several layers.
    pub const UNPACK_MANY: &str = "unpack of eight layers";
    /// Registry to layers.
    pub const PULL: &str = "pull of 300 MB in five layers, unpacked";
    /// The largest resident set of one download.
    pub const MEMORY_FETCH: &str = "peak memory of casemate-fetch in it";
    /// The largest resident set of the one that unpacks.
    pub const MEMORY_UNPACK: &str = "peak memory of casemate-unpack in it";

    /// Beside whom starts are measured.
    pub const START_PEERS: [&str; 4] = ["floor", "crun run", "runc run", "bwrap"];
    /// Beside whom memory is measured.
    pub const CONMON: &str = "conmon + crun";
    /// Beside whom starting many is measured.
    pub const CRUN_LOOP: &str = "loop of crun run -d";
    /// Beside whom unpacking is measured.
    pub const UNPACK_PEERS: [&str; 2] = ["umoci unpack", "tar xzf"];
    /// Beside whom pulling is measured.
    pub const PULL_PEERS: [&str; 2] = ["podman pull", "skopeo copy, umoci unpack"];
    /// What stands beside memory that is bounded.
    pub const BOUND: &str = "bound of 32 MiB";
}

use name::{CONMON, CRUN_LOOP, PULL, PULL_PEERS, START, START_PEERS, UNPACK_MANY, UNPACK_ONE, UNPACK_PEERS};

/// Every row of the table in its order: what is measured, and beside whom.
pub const ROWS: [(&str, &str); 17] = [
    (START, START_PEERS[0]),
    (START, START_PEERS[1]),
    (START, START_PEERS[2]),
    (START, START_PEERS[3]),
    (name::MEMORY_1, CONMON),
    (name::MEMORY_10, CONMON),
    (name::MEMORY_100, CONMON),
    (name::MEMORY_EXTRA, CONMON),
    (name::MANY, CRUN_LOOP),
    (UNPACK_ONE, UNPACK_PEERS[0]),
    (UNPACK_ONE, UNPACK_PEERS[1]),
    (UNPACK_MANY, UNPACK_PEERS[0]),
    (UNPACK_MANY, UNPACK_PEERS[1]),
    (PULL, PULL_PEERS[0]),
    (PULL, PULL_PEERS[1]),
    (name::MEMORY_FETCH, name::BOUND),
    (name::MEMORY_UNPACK, name::BOUND),
];

/// One side of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Side {
    /// Measured: median, smallest, largest.
    Measured {
        /// The median of all rounds.
        median: f64,
        /// The smallest value.
        min: f64,
        /// The largest value.
        max: f64,
    },
    /// Not on this machine, or not measurable here; what is missing, by name.
    Missing(String),
}

impl From<&Samples> for Side {
    fn from(samples: &Samples) -> Self {
        Self::Measured { median: samples.median(), min: samples.min(), max: samples.max() }
    }
}

impl Side {
    /// A value that was read once.
    pub fn single(value: f64) -> Self {
        Self::Measured { median: value, min: value, max: value }
    }

    fn median(&self) -> Option<f64> {
        match self {
            Self::Measured { median, .. } => Some(*median),
            Self::Missing(_) => None,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Measured { median, .. } => json!(rounded(*median)),
            Self::Missing(what) => json!(what),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Measured { median, min, max } if min == max => format!("{median:.2}"),
            Self::Measured { median, min, max } => format!("{median:.2} ({min:.2}..{max:.2})"),
            Self::Missing(what) => what.clone(),
        }
    }
}

/// Ours beside one peer.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// One of [`ROWS`].
    pub name: &'static str,
    /// Ours.
    pub ours: Side,
    /// The peer.
    pub peer: Side,
    /// Who the peer is.
    pub peer_name: &'static str,
    /// Unit of both.
    pub unit: &'static str,
}

impl Row {
    /// Ours divided by the peer's; none where either is missing.
    pub fn ratio(&self) -> Option<f64> {
        Some(self.ours.median()? / self.peer.median()?)
    }

    /// As it stands in bench.json.
    pub fn json(&self) -> Value {
        json!({
            "name": self.name,
            "ours": self.ours.json(),
            "peer": self.peer.json(),
            "peer_name": self.peer_name,
            "unit": self.unit,
            "ratio": self.ratio().map(rounded),
            "ours_spread": self.ours.text(),
            "peer_spread": self.peer.text(),
        })
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// All rows as a Markdown table, the form that README quotes.
pub fn table(rows: &[Row]) -> String {
    let mut cells =
        vec![["what", "unit", "ours (min..max)", "beside", "theirs (min..max)", "ratio"].map(str::to_owned)];
    for row in rows {
        let ratio = row.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        cells.push([
            row.name.to_owned(),
            row.unit.to_owned(),
            row.ours.text(),
            row.peer_name.to_owned(),
            row.peer.text(),
            ratio,
        ]);
    }
    let mut widths = [0; 6];
    for line in &cells {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (index, line) in cells.iter().enumerate() {
        for (cell, width) in line.iter().zip(widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if index == 0 {
            for width in widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_peer_is_named_and_has_no_ratio() {
        let row = Row {
            name: START,
            ours: Side::single(2.0),
            peer: Side::Missing("bwrap is not installed".into()),
            peer_name: "bwrap",
            unit: "ms",
        };
        assert_eq!(row.ratio(), None);
        assert_eq!(row.json()["peer"], "bwrap is not installed");
        assert!(table(&[row]).contains("| bwrap is not installed |"));
    }

    #[test]
    fn ratio_is_ours_over_theirs() {
        let samples = Samples::new(vec![3.0, 4.0, 5.0]);
        let row =
            Row { name: START, ours: Side::single(2.0), peer: Side::from(&samples), peer_name: "crun run", unit: "ms" };
        assert_eq!(row.ratio(), Some(0.5));
        assert!(table(&[row]).contains("4.00 (3.00..5.00)"));
    }
}
