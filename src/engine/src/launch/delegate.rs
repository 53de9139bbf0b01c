//! A subtree of every cgroup hierarchy for the helper's user: it makes the containers' cgroups there, and cannot lift a limit
//! above it. Where none can be had the result is empty, and the plan refuses what it cannot enforce.
//!
//! `<ours or an ancestor>/casemate/casemate-<instance>/` with the leaf `helper` inside. The directory `casemate` belongs to the
//! manager's user, so that a manager without privilege can remove the tree when the helper has quit.

use super::hierarchies::{Hierarchy, Kind, hierarchies};
use super::{Error, Identities, Ids};
use rustix::fs::{CWD, Mode, chmodat, chownat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Controllers of v2 that limits are set with.
const V2: [&str; 5] = ["memory", "cpu", "pids", "cpuset", "io"];
/// The directory that holds the trees of all instances below one cgroup.
const HOUSE: &str = "casemate";
/// The helper's own cgroup in the tree: v2 wants processes in leaves.
pub(super) const LEAF: &str = "helper";
/// How long a cgroup may stay busy after its last process was killed.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a tree is begun before a cgroup that is gone again is an error.
const TRIES: u32 = 100;

/// The trees of one instance: the `casemate-<instance>` directories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delegation(pub Vec<PathBuf>);

impl Delegation {
    /// The `cgroup.procs` files through which the helper gets into its leaves.
    pub fn entrances(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.0.iter().map(|tree| tree.join(LEAF).join("cgroup.procs"))
    }
}

/// The hierarchies of this process.
pub fn of_this_host() -> Result<Vec<Hierarchy>, Error> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| Error::new(path, "read", error));
    Ok(hierarchies(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?))
}

/// Where the trees of this instance would lie, best place first per hierarchy.
pub fn places(hierarchies: &[Hierarchy], name: &str) -> Vec<(Kind, Vec<PathBuf>)> {
    hierarchies
        .iter()
        .map(|hierarchy| {
            let mut places = vec![hierarchy.own.join(HOUSE).join(name)];
            if hierarchy.kind == Kind::Unified {
                // Processes beside us, or a controller that was not passed down, may forbid our own cgroup: further up then.
                let above = hierarchy.own.ancestors().skip(1);
                let above = above.take_while(|place| place.starts_with(&hierarchy.mount));
                places.extend(above.map(|place| place.join(HOUSE).join(name)));
            }
            (hierarchy.kind, places)
        })
        .collect()
}

/// Makes a tree in each hierarchy where that is allowed. A hierarchy where it is not allowed is left out.
pub fn delegate(places: &[(Kind, Vec<PathBuf>)], identities: &Identities) -> Result<Delegation, Error> {
    let mut trees = Vec::new();
    for (kind, places) in places {
        let made = match kind {
            Kind::Unified => unified(places, identities),
            Kind::V1 | Kind::V1WithCpuset => first(places, |tree| make(tree, *kind, identities)),
        };
        match made {
            Ok(Some(tree)) => trees.push(tree),
            Ok(None) => {}
            Err((path, error)) => {
                remove(&Delegation(trees));
                return Err(Error::at(&path, "delegate a cgroup", error));
            }
        }
    }
    Ok(Delegation(trees))
}

type Failed = (PathBuf, io::Error);

/// The first place where it works; `None` where none is allowed.
fn first(places: &[PathBuf], make: impl Fn(&Path) -> Result<(), Failed>) -> Result<Option<PathBuf>, Failed> {
    for place in places {
        match make(place) {
            Ok(()) => return Ok(Some(place.clone())),
            Err((_, error)) if denied(&error) => {}
            Err(failed) => return Err(failed),
        }
    }
    Ok(None)
}

fn denied(error: &io::Error) -> bool {
    let quiet = [Errno::ACCESS, Errno::PERM, Errno::ROFS].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|errno| quiet.contains(&errno))
}

/// v2: the place that gets the most controllers, the nearest of equals.
fn unified(places: &[PathBuf], identities: &Identities) -> Result<Option<PathBuf>, Failed> {
    let mut ranked: Vec<(usize, &PathBuf)> = Vec::new();
    for place in places {
        let Some(ground) = place.ancestors().nth(2) else { continue };
        enable(ground);
        let enabled = words(&ground.join("cgroup.subtree_control"));
        ranked.push((V2.iter().filter(|name| enabled.contains(**name)).count(), place));
    }
    ranked.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let best: Vec<PathBuf> = ranked.into_iter().map(|(_, place)| place.clone()).collect();
    first(&best, |tree| make(tree, Kind::Unified, identities))
}

/// Passes every controller we use down from here, as far as the kernel lets us: what is missing afterwards the helper's facts
/// do not have, and the plan says so.
fn enable(cgroup: &Path) {
    for name in words(&cgroup.join("cgroup.controllers")) {
        if V2.contains(&name.as_str()) {
            let _ = fs::write(cgroup.join("cgroup.subtree_control"), format!("+{name}"));
        }
    }
}

fn words(file: &Path) -> BTreeSet<String> {
    fs::read_to_string(file).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// One tree. Instances come and go side by side: where the last one out closes the house that this one is moving into, the tree is
/// begun again.
fn make(tree: &Path, kind: Kind, identities: &Identities) -> Result<(), Failed> {
    let closed = |error: &io::Error| {
        [Errno::NOENT, Errno::NODEV].iter().any(|no| error.raw_os_error() == Some(no.raw_os_error()))
    };
    for _ in 1..TRIES {
        match build(tree, kind, identities) {
            Err((_, error)) if closed(&error) => {}
            done => return done,
        }
    }
    build(tree, kind, identities)
}

/// House, top, leaf: all three are there before anything is written, because a house with a tree in it stays.
fn build(tree: &Path, kind: Kind, identities: &Identities) -> Result<(), Failed> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| (path, error)
    };
    let (manager, helper) = (identities.manager(), identities.helper());
    let leaf = tree.join(LEAF);
    let house = tree.parent().unwrap_or(tree);
    for directory in [house, tree, &leaf] {
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(directory)(error)),
            _ => {}
        }
    }
    for (directory, owner, mode) in [(house, manager.uid, 0o755), (tree, helper.uid, 0o775), (&leaf, helper.uid, 0o755)]
    {
        if kind == Kind::V1WithCpuset {
            inherit_cpuset(directory).map_err(at(directory))?;
        }
        give(directory, Ids { uid: owner, gid: manager.gid }, mode).map_err(at(directory))?;
        if directory != leaf {
            enable(directory);
        }
        if directory != house {
            for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"] {
                give_file(&directory.join(file), helper).map_err(at(&directory.join(file)))?;
            }
        }
    }
    Ok(())
}

/// A new v1 cpuset is empty, and a process cannot enter it: it starts with what its parent has.
fn inherit_cpuset(directory: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(file);
        if fs::read_to_string(&own)?.trim().is_empty() {
            let above = fs::read_to_string(directory.with_file_name(file))?;
            fs::write(own, above.trim())?;
        }
    }
    Ok(())
}

fn give(directory: &Path, owner: Ids, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let now = fs::symlink_metadata(directory)?;
    if (now.uid(), now.gid()) != (owner.uid, owner.gid) {
        give_file(directory, owner)?;
    }
    if now.mode() & 0o7777 != mode {
        chmodat(CWD, directory, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())?;
    }
    Ok(())
}

fn give_file(file: &Path, owner: Ids) -> io::Result<()> {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    match chownat(CWD, file, Some(owner.user()), Some(owner.group()), flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes the trees, waiting a while for killed processes to be gone. What cannot be removed is given back.
pub fn remove(delegation: &Delegation) -> Vec<PathBuf> {
    let deadline = Instant::now() + PATIENCE;
    let mut left = Vec::new();
    for tree in &delegation.0 {
        loop {
            remove_tree(tree, 8);
            if !tree.exists() {
                break;
            }
            if Instant::now() >= deadline {
                left.push(tree.clone());
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Other instances may live in the same house; the last one out closes it, if it may.
        let _ = tree.parent().map(fs::remove_dir);
    }
    left
}

fn remove_tree(directory: &Path, depth: u32) {
    let inner = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in inner.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if depth > 0 {
            remove_tree(&entry.path(), depth - 1);
        }
    }
    let _ = fs::remove_dir(directory);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_is_tried_upwards_and_v1_where_we_are() {
        let of = |kind| Hierarchy { mount: "/c".into(), own: "/c/a/b".into(), kind };
        let found = places(&[of(Kind::Unified), of(Kind::V1)], "casemate-1");
        let paths = |n: usize| found[n].1.iter().map(|p| p.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(paths(0), ["/c/a/b/casemate/casemate-1", "/c/a/casemate/casemate-1", "/c/casemate/casemate-1"]);
        assert_eq!(paths(1), ["/c/a/b/casemate/casemate-1"]);
    }

    /// Instances that start while others end: the last one out closes the house that the next is about to enter.
    #[test]
    fn a_house_that_another_instance_closes_is_opened_again() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: making cgroups needs root");
            return;
        }
        let identities = services();
        let hierarchies = of_this_host().unwrap();
        let in_and_out = |who: &str| {
            let places = places(&hierarchies, &format!("casemate-test-{}-{who}", std::process::id()));
            for _ in 0..200 {
                let delegation = delegate(&places, &identities).unwrap();
                assert_eq!(delegation.0.len(), places.len());
                assert_eq!(remove(&delegation), Vec::<PathBuf>::new());
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| in_and_out("a"));
            scope.spawn(|| in_and_out("b"));
        });
    }

    fn services() -> Identities {
        let ids = |n| Ids { uid: n, gid: n };
        let range = super::super::Range { base: 70_000, count: 10 };
        Identities::Service { manager: ids(60_001), helper: ids(60_002), fetch: ids(60_003), range }
    }

    #[test]
    fn a_tree_is_made_entered_and_removed() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: making cgroups needs root");
            return;
        }
        let identities = services();
        let name = format!("casemate-test-{}", std::process::id());
        let places = places(&of_this_host().unwrap(), &name);
        let delegation = delegate(&places, &identities).unwrap();
        assert_eq!(delegation.0.len(), places.len());
        for entrance in delegation.entrances() {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(fs::metadata(&entrance).unwrap().uid(), 60_002, "{}", entrance.display());
        }
        for tree in &delegation.0 {
            for limit in ["memory.limit_in_bytes", "memory.max", "cpuset.cpus", "pids.max"] {
                use std::os::unix::fs::MetadataExt;
                assert!(fs::metadata(tree.join(limit)).map_or(true, |file| file.uid() == 0), "{limit}");
            }
        }
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        for entrance in delegation.entrances() {
            fs::write(entrance, sleeper.id().to_string()).unwrap();
        }
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert_eq!(remove(&delegation), Vec::<PathBuf>::new());
        assert!(delegation.0.iter().all(|tree| !tree.exists()));
    }
}
