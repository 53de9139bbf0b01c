//! Figures in documents are those of the benchmark: docs/benchmarks.md has every row, README a choice of them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test reports by panicking")]

use std::fs;
use std::path::Path;

/// The rows of the table of figures in a document, cell by cell.
fn figures(name: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let table = text.lines().skip_while(|line| !line.starts_with("| what ")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn benchmarks_md_has_every_row_of_the_benchmark_and_no_other() {
    let quoted: Vec<_> =
        figures("docs/benchmarks.md").into_iter().map(|cells| (cells[0].clone(), cells[1].clone())).collect();
    let measured: Vec<_> =
        casemate_bench::ROWS.iter().map(|(name, peer)| ((*name).to_owned(), (*peer).to_owned())).collect();
    assert_eq!(quoted, measured);
}

#[test]
fn readme_quotes_six_rows_of_benchmarks_md() {
    let all = figures("docs/benchmarks.md");
    let quoted = figures("README.md");
    assert_eq!(quoted.len(), 6);
    for cells in quoted {
        // What, beside, and the two ratios.
        let found = all.iter().find(|row| row[..2] == cells[..2]).unwrap_or_else(|| panic!("no row {cells:?}"));
        assert_eq!(found[found.len() - 2..], cells[2..], "ratio and worst ratio of {:?}", &cells[..2]);
    }
}
