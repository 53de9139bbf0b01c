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
    /// Processes of ours that go from sleep to work though nothing happens.
    pub const IDLE: &str = "wakeups of our processes, 100 idle containers";
    /// File read to all running.
    pub const MANY: &str = "100 containers from one file, all running";
    /// Manager started to all running.
    pub const THOUSAND_START: &str = "1,000 containers: start, each";
    /// Helper and manager.
    pub const THOUSAND_MEMORY: &str = "1,000 containers: memory of our processes, each";
    /// One request, all of them in its answer.
    pub const THOUSAND_PS: &str = "1,000 containers: ps, each";
    /// One container restarted, the others left alone.
    pub const THOUSAND_RELOAD: &str = "1,000 containers: reload of one changed line, each";
    /// One after another, in reverse order.
    pub const THOUSAND_DOWN: &str = "1,000 containers: down, each";
    /// From the payload's write to the record's time.
    pub const NEIGHBOUR_LOG: &str = "longest wait of a neighbour's line, 200 MB proven in a loop";
    /// Of 1,000 requests.
    pub const NEIGHBOUR_PS: &str = "slowest of 1,000 ps, 200 MB proven in a loop";
    /// First record to last.
    pub const FLOOD: &str = "1,000,000 lines of 100 bytes to the log";
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
    /// Beside what a thousand containers are measured.
    pub const HUNDRED: &str = "the same with 100";
    /// Beside what a container is measured while another one is proven and started.
    pub const QUIET: &str = "the same without it";
    /// Beside whom unpacking is measured.
    pub const UNPACK_PEERS: [&str; 3] = ["umoci unpack", "tar xzf", "tar xzf, sync -f"];
    /// Beside whom pulling is measured.
    pub const PULL_PEERS: [&str; 2] = ["podman pull", "skopeo copy, umoci unpack"];
    /// What stands beside memory that is bounded.
    pub const BOUND: &str = "bound of 32 MiB";
}

use name::{
    CONMON, CRUN_LOOP, HUNDRED, PULL, PULL_PEERS, QUIET, START, START_PEERS, UNPACK_MANY, UNPACK_ONE, UNPACK_PEERS,
};

/// Every row of the table in its order: what is measured, and beside whom.
pub const ROWS: [(&str, &str); 28] = [
    (START, START_PEERS[0]),
    (START, START_PEERS[1]),
    (START, START_PEERS[2]),
    (START, START_PEERS[3]),
    (name::MEMORY_1, CONMON),
    (name::MEMORY_10, CONMON),
    (name::MEMORY_100, CONMON),
    (name::MEMORY_EXTRA, CONMON),
    (name::IDLE, CONMON),
    (name::MANY, CRUN_LOOP),
    (name::THOUSAND_START, HUNDRED),
    (name::THOUSAND_MEMORY, HUNDRED),
    (name::THOUSAND_PS, HUNDRED),
    (name::THOUSAND_RELOAD, HUNDRED),
    (name::THOUSAND_DOWN, HUNDRED),
    (name::NEIGHBOUR_LOG, QUIET),
    (name::NEIGHBOUR_PS, QUIET),
    (name::FLOOD, CONMON),
    (UNPACK_ONE, UNPACK_PEERS[0]),
    (UNPACK_ONE, UNPACK_PEERS[1]),
    (UNPACK_ONE, UNPACK_PEERS[2]),
    (UNPACK_MANY, UNPACK_PEERS[0]),
    (UNPACK_MANY, UNPACK_PEERS[1]),
    (UNPACK_MANY, UNPACK_PEERS[2]),
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
    /// Ours divided by the peer's; none where either is missing, or the peer's is 0.
    pub fn ratio(&self) -> Option<f64> {
        let peer = self.peer.median().filter(|peer| *peer != 0.0)?;
        Some(self.ours.median()? / peer)
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

/// The rows of several runs as the Markdown table of docs/benchmarks.md: of each row the run with the median ratio, and beside it the
/// largest ratio of all runs.
pub fn table(runs: &[Vec<Row>]) -> String {
    let head = ["what", "beside", "unit", "casemate (min..max)", "beside it (min..max)", "ratio", "worst"];
    let mut cells = vec![head.map(str::to_owned)];
    for index in 0..runs.first().map_or(0, Vec::len) {
        let mut same: Vec<&Row> = runs.iter().filter_map(|rows| rows.get(index)).collect();
        same.sort_by(|a, b| a.ratio().unwrap_or(f64::MAX).total_cmp(&b.ratio().unwrap_or(f64::MAX)));
        let (Some(median), Some(worst)) = (same.get(same.len().saturating_sub(1) / 2), same.last()) else { continue };
        let ratio = |row: &Row| row.ratio().map_or_else(|| "—".to_owned(), |ratio| format!("{ratio:.2}"));
        cells.push([
            median.name.to_owned(),
            median.peer_name.to_owned(),
            median.unit.to_owned(),
            median.ours.text(),
            median.peer.text(),
            ratio(median),
            if same.len() > 1 { ratio(worst) } else { "—".to_owned() },
        ]);
    }
    let mut widths = [0; 7];
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
        assert!(table(&[vec![row]]).contains("| bwrap is not installed |"));
    }

    #[test]
    fn ratio_is_ours_over_theirs() {
        let samples = Samples::new(vec![3.0, 4.0, 5.0]);
        let row =
            Row { name: START, ours: Side::single(2.0), peer: Side::from(&samples), peer_name: "crun run", unit: "ms" };
        assert_eq!(row.ratio(), Some(0.5));
        assert!(table(&[vec![row]]).contains("4.00 (3.00..5.00)"));
    }

    #[test]
    fn table_of_several_runs_has_the_median_ratio_and_the_worst() {
        let run = |ours| {
            vec![Row {
                name: START,
                ours: Side::single(ours),
                peer: Side::single(2.0),
                peer_name: "crun run",
                unit: "ms",
            }]
        };
        let text = table(&[run(3.0), run(1.0), run(2.0)]);
        assert!(
            text.lines()
                .last()
                .unwrap()
                .split('|')
                .map(str::trim)
                .eq(["", START, "crun run", "ms", "2.00", "2.00", "1.00", "1.50", ""]),
            "{text}"
        );
    }
}
