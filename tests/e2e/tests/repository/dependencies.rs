//! What is linked: licences and sources of crates, the reviewed list of the helper's.

use casemate_e2e::place::repository;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::LazyLock;

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
pub fn linked_into(package: &str) -> BTreeSet<String> {
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
