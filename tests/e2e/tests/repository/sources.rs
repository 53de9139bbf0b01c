//! Sizes of sources and of what they build, where unsafe code may stand, and names of sources in other files.

use super::dependencies::linked_into;
use super::{files_below, product, rust_files, short};
use casemate_e2e::place::repository;
use std::collections::BTreeSet;
use std::fs;

/// Lines that are neither blank nor comment.
fn code_lines(text: &str) -> usize {
    let code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    text.lines().filter(code).count()
}

/// What an auditor reads, and how many lines of code it may have: without blanks, comments and tests, as rustfmt formats them.
const BUDGETS: [(&str, &[&str], usize); 3] = [
    ("confinement path", &["container", "confine", "sys"], 2000),
    ("server and wire", &["helper", "wire"], 1800),
    ("casemate-unpack", &["unpack"], 2500),
];

#[test]
fn trusted_base_keeps_its_budget() {
    // Every crate of ours that is linked into the helper is counted.
    let linked = linked_into("casemate-helper");
    let ours: BTreeSet<&str> = linked.iter().filter_map(|name| name.strip_prefix("casemate-")).collect();
    let counted: BTreeSet<&str> = BUDGETS[..2].iter().flat_map(|(_, crates, _)| crates.iter().copied()).collect();
    assert_eq!(ours, counted);
    for (what, crates, budget) in BUDGETS {
        let files = crates.iter().flat_map(|name| rust_files(&format!("src/{name}/src")));
        let lines: usize = files.map(|file| code_lines(&product(&file))).sum();
        println!("{what} ({}): {lines} of {budget} lines of code", crates.join(", "));
        assert!(lines <= budget, "{what}: {lines} lines of code, the budget is {budget}");
    }
}

/// Two statements in one line would make a file look shorter than it is.
#[test]
fn statements_are_not_joined() {
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            let is_assignment = line.starts_with("let (") || line.starts_with("(self.");
            let joined = is_assignment && line.contains(") = (") && line.ends_with(");");
            assert!(!joined, "{}:{number}: {line}", short(&file));
        }
    }
}

#[test]
fn source_files_have_at_most_400_lines() {
    for file in rust_files("src") {
        let lines = product(&file).lines().count();
        assert!(lines <= 400, "{}: {lines} lines without tests: look for the second thing that it does", short(&file));
    }
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    for entry in fs::read_dir(repository().join("src")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name == "sys" {
            continue;
        }
        for file in rust_files(&format!("src/{name}/src")) {
            let text = fs::read_to_string(&file).unwrap();
            let word = text.lines().find(|line| {
                let code = line.split("//").next().unwrap();
                code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
            });
            assert_eq!(word, None, "{}", short(&file));
        }
        for root in ["src/lib.rs", "src/main.rs"] {
            let path = entry.path().join(root);
            if path.exists() {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.contains("#![forbid(unsafe_code)]"), "{}: no forbid(unsafe_code)", short(&path));
            }
        }
    }
}

#[test]
fn programs_only_call_their_library() {
    for name in ["fetch", "helper", "init", "casemate", "unpack"] {
        let path = repository().join(format!("src/{name}/src/main.rs"));
        let lines = code_lines(&fs::read_to_string(&path).unwrap());
        assert!(lines <= 8, "{}: {lines} lines of code", short(&path));
    }
}

#[test]
fn source_files_begin_with_a_header_comment() {
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let text = fs::read_to_string(&file).unwrap();
        if code_lines(&text) > 8 {
            assert!(text.starts_with("//!"), "{}: no header comment", short(&file));
        }
    }
}

#[test]
fn programs_are_static_and_have_no_privilege_of_their_own() {
    use std::os::unix::fs::MetadataExt;
    for name in casemate_e2e::place::PROGRAMS {
        let path = casemate_e2e::place::program(name);
        let bytes = fs::read(&path).unwrap();
        // PT_INTERP (3) would name a loader.
        let program_headers = u64::from_le_bytes(bytes[32..40].try_into().unwrap());
        let count = u16::from_le_bytes(bytes[56..58].try_into().unwrap());
        for index in 0..usize::from(count) {
            let at = usize::try_from(program_headers).unwrap() + index * 56;
            let kind = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            assert_ne!(kind, 3, "{name} asks for a loader");
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o6000, 0, "{name}");
    }
}

#[test]
fn sources_that_a_file_names_exist() {
    let files = ["src", "policies", "config", "systemd", "packaging", "docs"].into_iter().flat_map(files_below);
    let mut named = 0;
    for file in files {
        // Not every file of a package is text.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let part_of_path = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
        for word in text.split(|c: char| !part_of_path(c)) {
            let is_source = word.starts_with("src/") && word.contains("/src/") && word.ends_with(".rs");
            assert!(!is_source || repository().join(word).exists(), "{} names {word}", short(&file));
            named += usize::from(is_source);
        }
    }
    assert!(named > 1, "no file names a source");
}

/// A skipped test is reported by the name that it gives to `needs`.
#[test]
fn skips_name_existing_tests() {
    let texts: Vec<String> = rust_files("tests").iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let mut named = 0;
    for text in &texts {
        let arguments = text.split("needs(\"").skip(1).filter_map(|rest| rest.split_once('"'));
        for (name, _) in arguments {
            assert!(texts.iter().any(|text| text.contains(&format!("fn {name}("))), "no test is called {name}");
            named += 1;
        }
    }
    assert!(named > 10, "{named} tests with a need");
}
