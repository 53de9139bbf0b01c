//! What has to be so of the repository itself: sizes, walls between programs, licences, and documents that quote programs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::place::repository;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

fn rust_files(below: &str) -> Vec<PathBuf> {
    let mut left = vec![repository().join(below)];
    let mut files = Vec::new();
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display())).flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "no source below {below}");
    files
}

fn short(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap().display().to_string()
}

/// The text without what is only compiled for tests: a module marked `#[cfg(test)]` and all after its line. Modules of tests
/// stand at the end of their file here; a file that is a test module as a whole has a name that ends in `tests.rs`.
fn product(path: &Path) -> String {
    let name = short(path);
    if name.ends_with("tests.rs") || name.contains("/tests/") {
        return String::new();
    }
    let text = fs::read_to_string(path).unwrap();
    match text.find("#[cfg(test)]\nmod tests {") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// Lines that are neither blank nor comment.
fn code_lines(text: &str) -> usize {
    let code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    text.lines().filter(code).count()
}

#[test]
fn trusted_base_keeps_its_budget() {
    let mut sum = 0;
    let mut whole = 0;
    // The helper and the crates of ours that are linked into it.
    let linked = linked_into("casemate-helper");
    let ours: Vec<&str> = linked.iter().filter_map(|name| name.strip_prefix("casemate-")).collect();
    assert!(ours.contains(&"helper") && ours.contains(&"sys"), "{ours:?}");
    for name in ours {
        for file in rust_files(&format!("src/{name}/src")) {
            let text = product(&file);
            sum += code_lines(&text);
            whole += text.lines().count();
        }
    }
    println!("helper with its library crates: {sum} lines of code without tests ({whole} with comments and blanks)");
    // Confinement path 2,000, server and wire 1,800.
    assert!(sum <= 3800, "{sum} lines without tests, comments and blanks ({whole} with comments and blanks)");
}

#[test]
fn a_source_file_can_be_read_in_one_sitting() {
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
fn programs_are_three_lines_and_their_library_is_the_program() {
    for name in ["fetch", "helper", "init", "casemate", "unpack"] {
        let path = repository().join(format!("src/{name}/src/main.rs"));
        let lines = code_lines(&fs::read_to_string(&path).unwrap());
        assert!(lines <= 8, "{}: {lines} lines of code", short(&path));
    }
}

#[test]
fn each_file_says_what_it_is() {
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let text = fs::read_to_string(&file).unwrap();
        if code_lines(&text) > 8 {
            assert!(text.starts_with("//!"), "{}: no header comment", short(&file));
        }
    }
}

/// The names that a path begins with: one, or those of the outer list of `{a::b, c::{d, e}}`.
fn first_names(path: &str) -> Vec<String> {
    let word = |text: &str| text.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
    let Some(list) = path.strip_prefix('{') else { return vec![word(path)] };
    let mut depth = 0;
    let mut names = vec![String::new()];
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            c => names.last_mut().unwrap().push(c),
        }
    }
    names.iter().map(|name| word(name)).filter(|name| !name.is_empty()).collect()
}

#[test]
fn imports_are_read_however_they_are_written() {
    assert_eq!(first_names("plan::Job;"), ["plan"]);
    assert_eq!(first_names("{ plan::{a, b}, spec, image::{c::{d}} }; use x"), ["plan", "spec", "image"]);
}

/// `use` edges inside the engine: module, and the modules that it names by `crate::` or, below itself, by `super::super::`.
fn edges_of_the_engine() -> BTreeMap<String, BTreeSet<String>> {
    let source = repository().join("src/engine/src");
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust_files("src/engine/src") {
        let inside = file.strip_prefix(&source).unwrap().to_str().unwrap().to_owned();
        let module = inside.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let text = product(&file);
        let named = edges.entry(module.clone()).or_default();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for rest in code.join(" ").split("crate::").skip(1) {
            named.extend(first_names(rest).into_iter().filter(|name| *name != module));
        }
    }
    edges
}

#[test]
fn imports_of_the_engine_go_down() {
    // What each room may see of the engine's others; what is not listed here sees everything (event_loop, session).
    let allowed: &[(&str, &[&str])] = &[
        ("notify", &[]),
        ("writer", &[]),
        ("reactor", &[]),
        ("background", &[]),
        ("helper", &[]),
        ("pid", &[]),
        ("profile", &[]),
        ("revisions", &[]),
        ("logs", &[]),
        ("plan", &["profile"]),
        ("launch", &["notify"]),
        ("file", &["revisions"]),
        ("console", &["logs", "writer"]),
        ("control", &["logs", "notify", "reactor"]),
        ("state", &["logs"]),
        ("graph", &["state"]),
        ("reconcile", &["state"]),
        ("table", &["state", "graph", "reconcile"]),
        ("events", &["state", "reconcile"]),
        ("status", &["table", "notify"]),
        ("prepare", &["background", "file", "launch", "logs", "plan", "revisions", "state"]),
        ("collect", &["background", "prepare", "revisions"]),
    ];
    let edges = edges_of_the_engine();
    for (module, may) in allowed {
        let named = edges.get(*module).unwrap_or_else(|| panic!("no module {module}: change this list"));
        for name in named {
            assert!(may.contains(&name.as_str()), "engine/{module} imports {name}; it may import {may:?}");
        }
    }
}

/// What each crate of the manager's side may link of its others: the walls are Cargo's, and this list is what they are.
#[test]
fn crates_of_the_manager_go_down() {
    let side = ["error", "client", "spec", "image", "engine", "casemate"];
    let allowed: [(&str, &[&str]); 6] = [
        ("error", &[]),
        ("client", &["error"]),
        ("spec", &[]),
        ("image", &["error", "client", "spec"]),
        ("engine", &["error", "client", "spec", "image"]),
        ("casemate", &["error", "client", "spec", "image", "engine"]),
    ];
    for (name, may) in allowed {
        let text = fs::read_to_string(repository().join(format!("src/{name}/Cargo.toml"))).unwrap();
        let dependencies = text.split("[dependencies]").nth(1).unwrap();
        for other in side.iter().filter(|other| **other != "casemate") {
            let named = dependencies.contains(&format!("casemate-{other}.workspace"));
            assert!(!named || may.contains(other), "{name} links {other}; it may link {may:?}");
        }
        assert!(name == "casemate" || !dependencies.contains("clap"), "{name} knows the command line");
    }
}

static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform"])
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
});

/// The strings of a list in deny.toml, or of the `crate` keys in it.
fn deny_list(section: &str, key: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join("deny.toml")).unwrap();
    let section = text.split(&format!("[{section}]\n")).nth(1).unwrap().split("\n[").next().unwrap();
    let list = section.split(&format!("{key} = [")).nth(1).unwrap().split(']').next().unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// SPDX: `A OR B` needs one of them, `A AND B` both; `/` is an old way of writing OR.
fn licence_is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace(['(', ')'], "").replace('/', " OR ");
    expression.split(" AND ").all(|part| part.split(" OR ").any(|one| allowed.iter().any(|a| a == one.trim())))
}

#[test]
fn every_crate_has_an_allowed_licence_and_source() {
    let allowed = deny_list("licenses", "allow");
    let denied = deny_list("bans", "deny");
    for package in METADATA["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(licence_is_allowed(licence, &allowed), "{name}: licence {licence}");
        assert!(!denied.iter().any(|denied| denied == name), "{name} is banned by deny.toml");
        if let Some(source) = package["source"].as_str() {
            assert_eq!(source, "registry+https://github.com/rust-lang/crates.io-index", "{name}");
        }
    }
    assert!(licence_is_allowed("MIT/Apache-2.0", &allowed) && !licence_is_allowed("GPL-3.0", &allowed));
    assert!(!licence_is_allowed("MIT AND GPL-2.0", &allowed));
}

/// Names and versions of all that is linked into a package.
fn linked_into(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let name = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        // Versions of our own crates say nothing; those of others stand in Cargo.lock. A procedural macro runs at build time.
        format!("{name}{}", if line.contains("(proc-macro)") { " (proc-macro)" } else { "" })
    };
    text.lines().filter(|line| !line.is_empty()).map(name).collect()
}

#[test]
fn the_helpers_crates_are_those_that_were_reviewed() {
    let reviewed = fs::read_to_string(repository().join("src/helper/crates.txt")).unwrap();
    let reviewed: BTreeSet<String> =
        reviewed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect();
    let linked = linked_into("casemate-helper");
    let text = linked.iter().cloned().collect::<Vec<_>>().join("\n");
    assert_eq!(linked, reviewed, "src/helper/crates.txt does not say what is linked, which is:\n{text}\n");
    for banned in ["toml", "serde_json", "tar", "flate2", "zstd", "casemate"] {
        assert!(!linked.contains(banned), "the helper must not link {banned}");
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
