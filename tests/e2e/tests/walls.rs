//! Walls inside crates: which modules may use which. What lies between crates is held by Cargo.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use casemate_e2e::modules::Graph;
use casemate_e2e::place::repository;

/// A crate, and what each of its top-level modules may use of the others.
type Walls = (&'static str, &'static [(&'static str, &'static [&'static str])]);

const WALLS: [Walls; 1] = [(
    "image",
    &[
        ("directory", &[]),
        ("documents", &[]),
        ("names", &[]),
        ("registry", &[]),
        ("error", &["documents", "names", "registry"]),
        ("layout", &["directory", "documents", "error", "names"]),
        ("store", &["directory", "documents", "error", "names"]),
        ("transfer", &["documents", "error", "layout", "names", "registry", "store"]),
        ("pack", &["directory", "documents", "error", "layout"]),
    ],
)];

#[test]
fn modules_use_only_those_below_them() {
    for (name, walls) in WALLS {
        let graph = Graph::of_directory(&repository().join(format!("src/{name}/src")));
        assert_eq!(graph.cycles(), [], "src/{name}: modules that use each other");
        let rooms = graph.rooms();
        let known: Vec<&str> = walls.iter().map(|(room, _)| *room).collect();
        for (room, used) in &rooms {
            let Some((_, may)) = walls.iter().find(|(known, _)| known == room) else {
                panic!("src/{name}: module {room} is not in the list of {known:?}");
            };
            for other in used {
                assert!(may.contains(&other.as_str()), "src/{name}: {room} uses {other}; it may use {may:?}");
            }
            for other in *may {
                assert!(used.contains(*other), "src/{name}: {room} does not use {other}: shorten its list");
            }
        }
        assert_eq!(rooms.len(), walls.len(), "src/{name}: the list has modules that are gone");
    }
}
