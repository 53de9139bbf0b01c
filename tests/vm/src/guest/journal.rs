//! What the host's journal knows of containers that write to it.

use super::appliance::{FILE, casemate, container, probe, restart, run, until_output};
use super::command::sh;
use super::wait::until;
use casemate_e2e::oci::sha256;
use serde_json::Value;

/// Lines of one container.
const LINES: usize = 40;

/// Each line once, with the fields that say whose it is and the priority that it has, through a restart of the manager.
pub fn has_the_lines_of_containers() {
    let image = probe();
    let to_journal = |name: &str, uid, words: &[&str]| {
        container(name, &image, uid, words).set("logging", "{ driver = \"journald\" }")
    };
    let counts = to_journal("counts", 10_001, &["misbehave", "lines", &LINES.to_string(), "100000"]);
    let warns = to_journal("warns", 10_002, &["misbehave", "say", "<4>beware", "<9>of nothing"]);
    run(&image, [counts, warns]);
    restart();
    let warnings = until("both lines", || Some(entries("warns")).filter(|all| all.len() == 2));
    let found: Vec<_> = warnings.iter().map(|entry| (field(entry, "PRIORITY"), field(entry, "MESSAGE"))).collect();
    assert_eq!(found, [("4", "beware"), ("6", "<9>of nothing")]);

    until_output("counts", &format!("line {LINES}\n"));
    let mut lines = until("all lines", || Some(entries("counts")).filter(|all| all.len() >= LINES));
    let revision = format!("sha256:{}", sha256(&std::fs::read(FILE).unwrap()));
    let number =
        |entry: &Value| field(entry, "MESSAGE").strip_prefix("line ").and_then(|text| text.parse::<usize>().ok());
    lines.sort_by_key(number);
    assert_eq!(lines.len(), LINES, "{lines:?}");
    for (expected, entry) in (1..).zip(&lines) {
        assert_eq!(number(entry), Some(expected), "{entry}");
        let priority = if expected % 2 == 1 { "6" } else { "3" };
        for (name, value) in [
            ("PRIORITY", priority),
            ("SYSLOG_IDENTIFIER", "counts"),
            ("CASEMATE_REVISION", &revision),
            ("IMAGE_DIGEST", image.split('@').nth(1).unwrap()),
            ("_SYSTEMD_UNIT", "casemate.service"),
        ] {
            assert_eq!(field(entry, name), value, "{name} of {entry}");
        }
    }
    // The files have them too.
    assert_eq!(casemate(&["logs", "warns"]).expect(0).stdout, "<4>beware\n<9>of nothing\n");
}

/// What the journal of this boot has of a container.
fn entries(name: &str) -> Vec<Value> {
    let output = sh(&format!("journalctl --boot --output=json CASEMATE_CONTAINER={name}")).expect(0).stdout;
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn field<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry[name].as_str().unwrap_or_default()
}
