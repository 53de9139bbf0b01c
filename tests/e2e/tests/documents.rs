//! Documents say what the code says: the tests of each threat, the steps of a start, the help of every verb, and the links between documents.
//! `CASEMATE_BLESS=1` writes the generated parts anew instead of comparing them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test reports by panicking")]

use casemate_e2e::place::{self, repository};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Rows of a later part: nothing is there yet that could be attacked so.
const NOT_BUILT: [u32; 1] = [31];
/// An auditor reads it in one sitting.
const MAX_SECURITY_LINES: usize = 150;
const REGENERATE: &str = "CASEMATE_BLESS=1 cargo test -p casemate-e2e --test documents";

/// Compares a generated document with the file, or writes it.
fn compare(name: &str, generated: &str) {
    let path = repository().join(name);
    if std::env::var_os("CASEMATE_BLESS").is_some() {
        fs::write(path, generated).unwrap();
        return;
    }
    let written = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let difference = written.lines().zip(generated.lines()).find(|(written, generated)| written != generated);
    assert!(written == generated, "{name} is not what `{REGENERATE}` writes; first difference: {difference:#?}");
}

/// Files below a directory with this extension, without what is built or fetched.
fn files(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&path, extension, found);
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

/// The tests that are named after a threat: number and rest of the name.
fn tests_of_threats() -> BTreeMap<u32, BTreeSet<String>> {
    let mut sources = Vec::new();
    files(&repository().join("src"), "rs", &mut sources);
    files(&repository().join("tests"), "rs", &mut sources);
    let mut tests: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for file in sources {
        let text = fs::read_to_string(&file).unwrap();
        let names = text.lines().filter_map(|line| line.split("fn threat_").nth(1)?.split_once('('));
        for (name, _) in names.filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_digit())) {
            let (number, rest) = name.split_once('_').unwrap();
            tests.entry(number.parse().unwrap()).or_default().insert(rest.to_owned());
        }
    }
    tests
}

/// Number, class and answer of each threat, as SECURITY.md has them.
fn threats() -> Vec<(u32, String, String)> {
    let text = fs::read_to_string(repository().join("SECURITY.md")).unwrap();
    let rows =
        text.lines().filter_map(|line| line.strip_prefix("| [")?.split_once("](docs/security/threats.md#threat-"));
    let row = |(number, rest): (&str, &str)| {
        let cells: Vec<&str> = rest.split(" | ").collect();
        let [link, class, answer] = cells.as_slice() else { panic!("{rest}") };
        assert_eq!(link.strip_suffix(')'), Some(number), "the link of threat {number}");
        (number.parse().unwrap(), (*class).to_owned(), answer.trim_end_matches(" |").to_owned())
    };
    rows.map(row).collect()
}

#[test]
fn every_threat_has_a_row_and_its_tests_are_listed() {
    let threats = threats();
    let numbers: Vec<u32> = threats.iter().map(|(number, _, _)| *number).collect();
    assert_eq!(numbers, (1..=32).collect::<Vec<_>>(), "rows of SECURITY.md");
    let tests = tests_of_threats();
    let mut text = format!(
        "# Threats, and the tests that ask\n\nPart of [SECURITY.md](../../SECURITY.md). Written by `{REGENERATE}` from the\n\
         names of the tests, which begin with `threat_NN_`.\n"
    );
    for (number, class, answer) in threats {
        let listed = tests.get(&number);
        assert!(
            listed.is_some() != NOT_BUILT.contains(&number),
            "threat {number}: has a test, or nothing to attack yet"
        );
        text.push_str(&format!("\n## Threat {number}\n\n{class}: {answer}.\n\n"));
        for name in listed.into_iter().flatten() {
            text.push_str(&format!("- `{name}`\n"));
        }
        if listed.is_none() {
            text.push_str("No test: nothing is there yet that could be attacked in this way.\n");
        }
    }
    compare("docs/security/threats.md", &text);
}

#[test]
fn security_md_has_at_most_150_lines() {
    let lines = fs::read_to_string(repository().join("SECURITY.md")).unwrap().lines().count();
    assert!(lines <= MAX_SECURITY_LINES, "SECURITY.md has {lines} lines, more than {MAX_SECURITY_LINES}");
}

#[test]
fn steps_md_quotes_the_steps_as_the_helper_prints_them() {
    let output = Command::new(place::program("casemate-helper")).arg("--steps").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.lines().count() > 10, "{printed}");
    let name = "docs/security/steps.md";
    let text = fs::read_to_string(repository().join(name)).unwrap();
    let (before, rest) = text.split_once("```\n").unwrap();
    let (_, after) = rest.split_once("```\n").unwrap();
    compare(name, &format!("{before}```\n{printed}```\n{after}"));
}

/// The long help of a verb, at a fixed width.
fn help(verb: &[String]) -> String {
    let mut command = Command::new(place::program("casemate"));
    let output = command.args(verb).arg("--help").env("COLUMNS", "100").output().unwrap();
    assert!(output.status.success(), "{verb:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The verbs below one, from the list in its help.
fn verbs_of(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let first = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    first.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help").map(str::to_owned).collect()
}

/// The options that every verb has are shown once.
fn without_common_options(help: &str) -> String {
    let Some((before, rest)) = help.split_once("Instance:\n") else { return help.to_owned() };
    let after = rest.lines().skip_while(|line| line.is_empty() || line.starts_with(' '));
    format!("{}\n{}", before, after.map(|line| format!("{line}\n")).collect::<String>())
}

fn add_verbs(of: &[String], help_of: &str, text: &mut String) {
    for verb in verbs_of(help_of) {
        let path: Vec<String> = of.iter().cloned().chain([verb]).collect();
        let own = help(&path);
        let shown = without_common_options(&own);
        text.push_str(&format!("\n## casemate {}\n\n```\n{}\n```\n", path.join(" "), shown.trim_end()));
        add_verbs(&path, &own, text);
    }
}

#[test]
fn commands_md_quotes_the_help_of_every_verb() {
    let top = help(&[]);
    let mut text = format!(
        "# Commands\n\nWritten by `{REGENERATE}` from `casemate --help` and the help\nof each verb. The options under \
         \"Instance\" belong to every verb and are shown once.\n\n```\n{}\n```\n",
        top.trim_end()
    );
    add_verbs(&[], &top, &mut text);
    assert!(text.contains("## casemate image import"), "{text}");
    compare("docs/commands.md", &text);
}

/// The names of the keys that `casemate keys` prints.
fn keys_printed() -> BTreeSet<String> {
    let output = Command::new(place::program("casemate")).arg("keys").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    // A name is indented by two columns, its description below it by six.
    let described = printed.lines().zip(printed.lines().skip(1)).filter(|(_, next)| next.starts_with("      "));
    let names = described.filter_map(|(line, _)| line.strip_prefix("  ").filter(|name| !name.starts_with(' ')));
    names.map(str::to_owned).collect()
}

#[test]
fn reference_md_schema_and_example_have_every_key_that_casemate_keys_prints() {
    let keys = keys_printed();
    assert!(keys.len() > 60 && keys.contains("memory_high"), "{keys:?}");
    let read = |name: &str| fs::read_to_string(repository().join(name)).unwrap();
    let reference = read("docs/reference.md");
    let schema = read("docs/casemate.schema.json");
    let example = read("config/casemate.toml");
    for key in keys {
        assert!(reference.contains(&format!("- **`{key}`**: ")), "docs/reference.md: {key}");
        assert!(schema.contains(&format!("\"{key}\": {{")), "docs/casemate.schema.json: {key}");
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(example.split(|c| !is_word(c)).any(|word| word == key), "config/casemate.toml: {key}");
    }
}

#[test]
fn example_file_is_accepted_by_check() {
    let file = repository().join("config/casemate.toml");
    let output = Command::new(place::program("casemate")).arg("check").arg(&file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The anchor of a heading, as GitHub and most renderers make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents = Vec::new();
    files(repository(), "md", &mut documents);
    assert!(documents.len() > 8, "{documents:?}");
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") {
                continue;
            }
            let (path, fragment) = link.split_once('#').map_or((link, None), |(path, fragment)| (path, Some(fragment)));
            let target = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(target.exists(), "{} links to {link}", document.display());
            if let Some(fragment) = fragment {
                let target = fs::read_to_string(target).unwrap();
                let mut headings = target.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
                assert!(headings.any(|heading| anchor(heading) == fragment), "{} links to {link}", document.display());
            }
        }
    }
}
