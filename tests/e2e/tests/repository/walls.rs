//! Walls: what each crate of the manager links, and which modules of a crate use which.

use casemate_e2e::modules::Graph;
use casemate_e2e::place::repository;
use std::collections::BTreeSet;
use std::fs;

/// A crate's modules, lower ones first, each with those that it uses.
type Walls = &'static [(&'static str, &'static [&'static str])];

const IMAGE: Walls = &[
    ("directory", &[]),
    ("documents", &[]),
    ("names", &[]),
    ("registry", &[]),
    ("error", &["documents", "names", "registry"]),
    ("layout", &["directory", "documents", "error", "names"]),
    ("store", &["directory", "documents", "error", "names"]),
    ("transfer", &["documents", "error", "layout", "names", "registry", "store"]),
    ("pack", &["directory", "documents", "error", "layout"]),
];

const ENGINE: Walls = &[
    ("background", &[]),
    ("helper", &[]),
    ("logs", &[]),
    ("notify", &[]),
    ("pid", &[]),
    ("profile", &[]),
    ("reactor", &[]),
    ("revisions", &[]),
    ("writer", &[]),
    ("plan", &["profile"]),
    ("launch", &["notify"]),
    ("file", &["revisions"]),
    ("console", &["logs", "writer"]),
    ("control", &["logs", "notify", "reactor"]),
    ("state", &["logs"]),
    ("graph", &["state"]),
    ("reconcile", &["state"]),
    ("table", &["graph", "reconcile", "state"]),
    ("events", &["reconcile", "state"]),
    ("status", &["notify", "table"]),
    ("prepare", &["background", "file", "launch", "logs", "plan", "revisions", "state"]),
    ("collect", &["background", "prepare", "revisions"]),
    (
        "event_loop",
        &[
            "background", "collect", "console", "control", "events", "file", "graph", "helper", "logs", "notify",
            "pid", "plan", "prepare", "reactor", "reconcile", "state", "status", "table",
        ],
    ),
    (
        "session",
        &[
            "control", "event_loop", "file", "launch", "logs", "notify", "plan", "prepare", "reactor", "revisions",
            "state",
        ],
    ),
];

const WALLS: [(&str, Walls); 2] = [("image", IMAGE), ("engine", ENGINE)];

const WITHOUT_CYCLES: [&str; 16] = [
    "casemate", "client", "confine", "container", "engine", "error", "fetch", "fetch-wire", "filter", "helper",
    "image", "index-wire", "init", "sys", "unpack", "wire",
];

fn graph(name: &str) -> Graph {
    Graph::of_directory(&repository().join(format!("src/{name}/src")))
}

#[test]
fn no_modules_use_each_other() {
    for name in WITHOUT_CYCLES {
        assert_eq!(graph(name).cycles(), [], "src/{name}: modules that use each other");
    }
}

#[test]
fn modules_use_those_of_the_list_and_no_others() {
    for (name, walls) in WALLS {
        let found = graph(name).top_level();
        let listed: BTreeSet<&str> = walls.iter().map(|(module, _)| *module).collect();
        let modules: BTreeSet<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(modules, listed, "src/{name}: its modules, and those of the list");
        let mut lower = BTreeSet::new();
        for (module, may) in walls {
            let may: BTreeSet<&str> = may.iter().copied().collect();
            let used: BTreeSet<&str> = found[*module].iter().map(String::as_str).collect();
            assert_eq!(used, may, "src/{name}: what {module} uses, and what it may use");
            assert!(may.is_subset(&lower), "src/{name}: {module} may use what stands behind it in the list");
            lower.insert(*module);
        }
    }
}

/// What each crate of the manager may link of the others.
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
