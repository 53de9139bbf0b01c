//! Private words that were replaced by the words of the field stay out of sources, documents, policies and units.

use super::{files_below, short};
use casemate_e2e::place::repository;
use std::path::PathBuf;

/// Retired words, each with the words to use. They are compared with every word of a text and with every part of a name.
const RETIRED: &[(&str, &str)] = &[
    ("attendance", "event loop, run"),
    ("complaint", "error"),
    ("crew", "workers"),
    ("doorman", "listener"),
    ("doubt", "error"),
    ("faulty", "error"),
    ("fence", "sandbox, confinement"),
    ("fences", "sandbox, confinement"),
    ("flaw", "error"),
    ("giver", "server, source"),
    ("heard", "received"),
    ("insist", "retry"),
    ("insists", "retries"),
    ("judge", "validate, check"),
    ("judged", "validated, checked"),
    ("judges", "validates, checks"),
    ("lender", "read-only image store"),
    ("lent", "read-only image store"),
    ("meanwhile", "in the meantime; keepalive"),
    ("outlet", "non-blocking writer"),
    ("prison", "sandbox, confinement"),
    ("prisoner", "payload"),
    ("shelf", "read-only image store"),
    ("somebody", "the process, program or user"),
    ("stranger", "orphan; another user"),
    ("strangers", "orphans; other users"),
    ("told", "reported, printed"),
    ("verdict", "result"),
    ("whoever", "the process, program or user"),
];

fn texts() -> Vec<PathBuf> {
    let directories =
        ["src", "tests", "policies", "config", "systemd", "packaging", "docs", "scripts", "fuzz/fuzz_targets", ".ci"];
    let mut files: Vec<PathBuf> = directories.into_iter().flat_map(files_below).collect();
    files.extend(
        ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile"].map(|name| repository().join(name)),
    );
    files
}

/// The words of a text and the parts of its names, in lower case: `TermsError` and `terms_error` are `terms` and `error`.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in text.chars() {
        if !c.is_ascii_alphabetic() || (c.is_ascii_uppercase() && after_lower) {
            words.push(String::new());
        }
        if c.is_ascii_alphabetic()
            && let Some(last) = words.last_mut()
        {
            last.push(c.to_ascii_lowercase());
        }
        after_lower = c.is_ascii_lowercase();
    }
    words.into_iter().filter(|word| !word.is_empty())
}

#[test]
fn retired_words_are_not_used() {
    let mut found = Vec::new();
    for file in texts() {
        // This list, and files that are not text.
        if file.ends_with("repository/words.rs") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            for word in words(line) {
                if let Some((_, instead)) = RETIRED.iter().find(|(retired, _)| *retired == word) {
                    found.push(format!("{}:{number}: `{word}`: use {instead}\n", short(&file)));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.concat());
}

#[test]
fn words_are_parts_of_names_too() {
    let of = |text| words(text).collect::<Vec<_>>();
    assert_eq!(
        of("let told_by = TermsError::new(\"A shelf.\");"),
        ["let", "told", "by", "terms", "error", "new", "a", "shelf"]
    );
}
