//! What to say about a key that a table does not have: the nearest key, or what another tool's word is called here.

use super::container::TABLE as CONTAINER;
use super::{Row, Table, file};
use crate::nearest::nearest;
use crate::types::Shape;
use crate::view::Level;

/// The advice for an unknown key.
pub(crate) fn unknown_key(table: &'static Table, level: Level, key: &str) -> Option<String> {
    let names: Vec<&str> = table.rows(level).map(|row| row.about().name).collect();
    // A word that another tool has is meant as such, however near it is to a key.
    if let Some(advice) = foreign(table, key) {
        return Some(advice.to_owned());
    }
    if let Some(near) = nearest(key, names) {
        return Some(format!("did you mean `{near}`?"));
    }
    if level == Level::Defaults && table.row(key).is_some() {
        return Some(format!(
            "`{key}` has no default for all containers: write it in each {}",
            table.heading(Level::Own)
        ));
    }
    home(table, key).map(|home| format!("`{key}` is a key of {home}"))
}

/// The table that has this key, among those that belong to the same entry of the file. Elements of lists are left out: their keys
/// (`source`, `size`, `type`) mean something else in each.
fn home(table: &'static Table, key: &str) -> Option<String> {
    let root = if table.path.starts_with(CONTAINER.path) { &CONTAINER } else { &file::TABLE };
    let mut found = Vec::new();
    groups(root, &mut found);
    let other = |candidate: &&&'static Table| !std::ptr::eq(**candidate, table) && candidate.row(key).is_some();
    let mut homes = found.iter().filter(other);
    let home = homes.next()?;
    homes.next().is_none().then(|| home.heading(Level::Own))
}

/// A table, and those directly below it by a fixed key.
fn groups(table: &'static Table, found: &mut Vec<&'static Table>) {
    found.push(table);
    for row in table.rows(Level::Own) {
        if let Shape::Table(inner, None) = row.shape() {
            groups(inner, found);
        }
    }
}

impl Table {
    fn row(&self, key: &str) -> Option<&'static dyn Row> {
        self.rows.iter().copied().find(|row| row.about().name == key)
    }
}

fn foreign(table: &Table, key: &str) -> Option<&'static str> {
    let list = if table.path == CONTAINER.path {
        CONTAINER_WORDS
    } else if table.path.is_empty() {
        FILE_WORDS
    } else {
        OTHER_WORDS.iter().find(|(path, _)| *path == table.path)?.1
    };
    list.iter().find(|(word, _)| *word == key).map(|(_, advice)| *advice)
}

/// Words of compose and docker for a container, and what to write here.
static CONTAINER_WORDS: &[(&str, &str)] = &[
    (
        "build",
        "casemate runs images and builds none: build with BuildKit or Buildah, or pack with `casemate image pack`",
    ),
    ("cap_add", "write it in `security`, as in `security = { cap_add = [\"NET_BIND_SERVICE\"] }`"),
    ("cap_drop", "leave it out: every capability is dropped, and `security.cap_add` adds single ones"),
    ("configs", "casemate has no `configs` yet: a bind of the file in `volumes` shows it to the container"),
    ("container_name", "leave it out: a container has the name of its table, `[containers.NAME]`"),
    ("cpu_shares", "here it is `resources.cpu_weight`, a number from 1 to 10000"),
    ("cpus", "write it in `resources`, as in `resources = { cpus = 0.5 }`"),
    ("depends_on", "casemate has no `depends_on` yet: containers start in the order of the file"),
    ("deploy", "limits are written in `resources`; there is one container of each name"),
    ("dns", "casemate has no `dns` yet: a container has no network but its loopback"),
    ("domainname", "write the whole name in `hostname`"),
    ("egress", "casemate has no `egress` yet: a container has no network but its loopback"),
    ("env", "here it is called `environment`"),
    ("env_file", "casemate has no `env_file` yet: write the variables in `environment`"),
    ("expose", "leave it out: a container has no network but its loopback"),
    ("extra_hosts", "casemate has no `extra_hosts` yet: a container has no network but its loopback"),
    ("group_add", "casemate has no `group_add` yet: a container has the one group of its `user`"),
    ("healthcheck", "casemate has no `healthcheck` yet: `restart` acts when the container ends"),
    ("ipc", "leave it out: every container has an ipc namespace of its own"),
    ("mem_limit", "here it is `resources.memory`, as in `resources = { memory = \"64MiB\" }`"),
    ("mem_reservation", "here it is `resources.memory_high`"),
    ("memory_reservation", "here it is `resources.memory_high`"),
    ("memswap_limit", "here it is `resources.memory_swap`, the swap besides memory"),
    ("mounts", "here they are called `volumes`"),
    ("network_mode", "casemate has no `network_mode` yet: a container has no network but its loopback"),
    ("networks", "casemate has no `networks` yet: a container has no network but its loopback"),
    ("oom_kill_disable", "leave it out: a container above its `resources.memory` is always ended"),
    ("pid", "leave it out: every container has a pid namespace of its own"),
    ("pids_limit", "here it is `resources.pids`, as in `resources = { pids = 64 }`"),
    ("ports", "casemate has no `ports` yet: a container has no network but its loopback"),
    ("privileged", "no container is privileged: `security.cap_add` and `devices` give single rights"),
    ("pull_policy", "leave it out: `casemate pull` fetches images, and a start never does"),
    ("runtime", "leave it out: casemate starts every container itself"),
    ("schedule", "casemate has no `schedule` yet: a systemd timer can run `casemate start NAME`"),
    ("secrets", "casemate has no `secrets` yet: a bind of the file in `volumes`, read-only, shows it to the container"),
    ("security_opt", "here it is `security`: seccomp, landlock, masked_paths"),
    ("stdin_open", "casemate has no `stdin_open` yet: standard input is empty"),
    ("stop_timeout", "here it is called `stop_grace_period`"),
    ("tty", "casemate has no `tty` yet: output goes to pipes"),
    ("uid", "here it is called `user`"),
    ("userns_mode", "leave it out: every container has a user namespace of its own"),
    ("watchdog", "casemate has no `watchdog` yet: `restart` acts when the container ends"),
    ("workdir", "here it is called `working_dir`"),
];

/// Words of compose for the whole file.
static FILE_WORDS: &[(&str, &str)] = &[
    ("configs", "casemate has no `configs` yet: a bind of the file in `volumes` of a container shows it"),
    ("name", "here it is `name` in [appliance]"),
    ("networks", "casemate has no `networks` yet: a container has no network but its loopback"),
    ("secrets", "casemate has no `secrets` yet: a bind of the file in `volumes` of a container shows it"),
    ("services", "here they are called `containers`, each written [containers.NAME]"),
    ("trust", "casemate has no `trust` yet: an image is pinned by the digest in the file"),
    ("version", "here it is called `schema`"),
];

/// Words that other tables do not have yet.
static OTHER_WORDS: &[(&str, &[(&str, &str)])] = &[
    (
        "policy",
        &[
            ("exec", "casemate has no `exec` yet: no process can be started in a running container"),
            ("require_signature", "casemate has no signatures yet: an image is pinned by the digest in the file"),
        ],
    ),
    (
        "volumes.NAME",
        &[
            ("driver", "leave it out: a volume is a directory of casemate's state"),
            (
                "external",
                "leave it out: a path of the host is mounted by `type = \"bind\"` in `volumes` of a container",
            ),
            ("group", "casemate has no `group` of a volume yet: a volume belongs to one user"),
            ("size", "casemate has no `size` of a volume yet: it can fill the disk that it lies on"),
        ],
    ),
    (
        "containers.NAME.logging",
        &[
            ("max_rate", "casemate has no `max_rate` yet: `max_size` and `max_file` bound the files"),
            ("options", "write `max_size` and `max_file` directly in `logging`"),
        ],
    ),
    (
        "containers.NAME.resources",
        &[
            ("limits", "write the limits directly in `resources`"),
            ("oom", "casemate has no `oom` yet: the whole container is ended when it runs out of memory"),
            ("reservations", "leave it out: casemate reserves nothing"),
        ],
    ),
    (
        "containers.NAME.security",
        &[
            ("apparmor", "leave it out: Landlock confines paths, whatever the host's AppArmor does"),
            ("no_new_privileges", "leave it out: it always holds"),
            ("privileged", "no container is privileged: `cap_add` and `devices` give single rights"),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A word that has become a key has no place in these lists: the advice for it would never be shown, or be wrong.
    #[test]
    fn foreign_words_are_no_keys() {
        let lists = [("", FILE_WORDS), (CONTAINER.path, CONTAINER_WORDS)];
        for (path, list) in lists.into_iter().chain(OTHER_WORDS.iter().copied()) {
            let (table, _) = super::super::tables().into_iter().find(|(table, _)| table.path == path).unwrap();
            for (word, _) in list {
                assert!(!table.rows(Level::Own).any(|row| row.about().name == *word), "{path}: {word}");
            }
            assert!(list.is_sorted_by_key(|(word, _)| *word), "{path}");
        }
    }

    #[test]
    fn foreign_words_name_keys_that_exist() {
        let paths: Vec<String> = super::super::entries().iter().map(super::super::Entry::path).collect();
        for (_, advice) in CONTAINER_WORDS {
            let Some(rest) = advice.strip_prefix("here it is ") else { continue };
            let named = rest.split('`').nth(1).unwrap();
            assert!(paths.contains(&format!("{}.{named}", CONTAINER.path)), "{advice}");
        }
    }

    #[test]
    fn advice_never_points_to_a_key_of_another_meaning() {
        let advice = |path: &str, level, key| {
            let (table, _) = super::super::tables().into_iter().find(|(table, _)| table.path == path).unwrap();
            unknown_key(table, level, key)
        };
        assert!(advice(CONTAINER.path, Level::Own, "ports").unwrap().starts_with("casemate has no `ports` yet"));
        assert_eq!(advice("policy", Level::Own, "size"), None);
        assert_eq!(advice("appliance", Level::Own, "mirrors"), None);
        assert_eq!(
            advice(CONTAINER.path, Level::Own, "memory").as_deref(),
            Some("`memory` is a key of [containers.NAME.resources]")
        );
        assert_eq!(
            advice(CONTAINER.path, Level::Defaults, "memory").as_deref(),
            Some("`memory` is a key of [containers.NAME.resources]")
        );
        assert_eq!(
            advice(CONTAINER.path, Level::Defaults, "image").as_deref(),
            Some("`image` has no default for all containers: write it in each [containers.NAME]")
        );
    }
}
