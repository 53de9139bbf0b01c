//! Cgroups that the helper's user may manage, one subtree per hierarchy: the helper makes the containers' cgroups there, and cannot
//! lift a limit above it. Where none can be made the result is empty, and the plan refuses limits that it cannot enforce.
//!
//! `<own cgroup or an ancestor>/casemate/casemate-<instance>/` with the leaf `helper` inside. The parent directory `casemate` belongs to
//! the manager's user, so that an unprivileged manager can remove the subtree after the helper has quit.

use super::cgroup_hierarchies::{Hierarchy, Kind, hierarchies};
use super::{Error, Identities, Ids};
use rustix::fs::{CWD, Mode, chmodat, chownat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// v2 controllers that limits use.
const V2: [&str; 5] = ["memory", "cpu", "pids", "cpuset", "io"];
/// The parent directory of the cgroups of all instances.
const PARENT: &str = "casemate";
/// The helper's own cgroup in the subtree: v2 allows processes in leaves only.
pub(super) const LEAF: &str = "helper";
/// How long a cgroup may stay busy after its last process was killed: the kernel frees namespaces and memory before it lets go, and a
/// loaded host needs seconds for that.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the creation of a subtree is tried while another instance removes the parent directory.
const TRIES: u32 = 100;

/// The cgroups of one instance: its `casemate-<instance>` directories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delegation(pub Vec<PathBuf>);

impl Delegation {
    /// The `cgroup.procs` files by which a process enters the helper's leaves.
    pub fn procs_files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.0.iter().map(|cgroup| cgroup.join(LEAF).join("cgroup.procs"))
    }
}

/// The cgroup hierarchies of this host.
pub fn hierarchies_of_host() -> Result<Vec<Hierarchy>, Error> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| Error::new(path, "read", error));
    Ok(hierarchies(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?))
}

/// Candidate paths of the instance's cgroup in each hierarchy, best first.
pub fn candidates(hierarchies: &[Hierarchy], name: &str) -> Vec<(Kind, Vec<PathBuf>)> {
    hierarchies
        .iter()
        .map(|hierarchy| {
            let mut paths = vec![hierarchy.own.join(PARENT).join(name)];
            if hierarchy.kind == Kind::Unified {
                // Processes in our own cgroup, or a controller that is not enabled for it, can forbid it: then try the ancestors.
                let ancestors = hierarchy.own.ancestors().skip(1);
                let ancestors = ancestors.take_while(|path| path.starts_with(&hierarchy.mount));
                paths.extend(ancestors.map(|path| path.join(PARENT).join(name)));
            }
            (hierarchy.kind, paths)
        })
        .collect()
}

/// Creates the cgroup in each hierarchy that allows it; the others are left out.
pub fn delegate(candidates: &[(Kind, Vec<PathBuf>)], identities: &Identities) -> Result<Delegation, Error> {
    let mut cgroups = Vec::new();
    for (kind, paths) in candidates {
        let created = match kind {
            Kind::Unified => create_unified(paths, identities),
            Kind::V1 | Kind::V1WithCpuset => first_allowed(paths, |path| create(path, *kind, identities)),
        };
        match created {
            Ok(Some(cgroup)) => cgroups.push(cgroup),
            Ok(None) => {}
            Err((path, error)) => {
                remove(&Delegation(cgroups));
                return Err(Error::at(&path, "delegate a cgroup", error));
            }
        }
    }
    Ok(Delegation(cgroups))
}

type Failed = (PathBuf, io::Error);

/// The first path that can be created; `None` if the kernel denies all.
fn first_allowed(paths: &[PathBuf], create: impl Fn(&Path) -> Result<(), Failed>) -> Result<Option<PathBuf>, Failed> {
    for path in paths {
        match create(path) {
            Ok(()) => return Ok(Some(path.clone())),
            Err((_, error)) if denied(&error) => {}
            Err(failed) => return Err(failed),
        }
    }
    Ok(None)
}

fn denied(error: &io::Error) -> bool {
    let denials = [Errno::ACCESS, Errno::PERM, Errno::ROFS].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|errno| denials.contains(&errno))
}

/// v2: the path with the most controllers, the nearest of equals.
fn create_unified(paths: &[PathBuf], identities: &Identities) -> Result<Option<PathBuf>, Failed> {
    let mut ranked: Vec<(usize, &PathBuf)> = Vec::new();
    for path in paths {
        let Some(above_parent) = path.ancestors().nth(2) else { continue };
        enable_controllers(above_parent);
        let enabled = read_names(&above_parent.join("cgroup.subtree_control"));
        ranked.push((V2.iter().filter(|name| enabled.contains(**name)).count(), path));
    }
    ranked.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let best: Vec<PathBuf> = ranked.into_iter().map(|(_, path)| path.clone()).collect();
    first_allowed(&best, |path| create(path, Kind::Unified, identities))
}

/// Enables the controllers of [`V2`] for the children of a cgroup, as far as the kernel allows: a missing one is missing in the helper's
/// facts, and the plan reports it.
fn enable_controllers(cgroup: &Path) {
    for name in read_names(&cgroup.join("cgroup.controllers")) {
        if V2.contains(&name.as_str()) {
            let _ = fs::write(cgroup.join("cgroup.subtree_control"), format!("+{name}"));
        }
    }
}

fn read_names(file: &Path) -> BTreeSet<String> {
    fs::read_to_string(file).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Creates one subtree. Tries again if another instance that ends removes the parent directory at the same time.
fn create(path: &Path, kind: Kind, identities: &Identities) -> Result<(), Failed> {
    let removed = |error: &io::Error| {
        [Errno::NOENT, Errno::NODEV].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
    };
    for _ in 1..TRIES {
        match try_create(path, kind, identities) {
            Err((_, error)) if removed(&error) => {}
            outcome => return outcome,
        }
    }
    try_create(path, kind, identities)
}

/// Creates parent, subtree and leaf before it writes to any of them: a parent with a child is not removed.
fn try_create(path: &Path, kind: Kind, identities: &Identities) -> Result<(), Failed> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| (path, error)
    };
    let manager = identities.manager();
    let helper = identities.helper();
    let leaf = path.join(LEAF);
    let parent = path.parent().unwrap_or(path);
    for directory in [parent, path, &leaf] {
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(directory)(error)),
            _ => {}
        }
    }
    for (directory, owner, mode) in
        [(parent, manager.uid, 0o755), (path, helper.uid, 0o775), (&leaf, helper.uid, 0o755)]
    {
        if kind == Kind::V1WithCpuset {
            inherit_cpuset(directory).map_err(at(directory))?;
        }
        set_owner_and_mode(directory, Ids { uid: owner, gid: manager.gid }, mode).map_err(at(directory))?;
        if directory != leaf {
            enable_controllers(directory);
        }
        if directory != parent {
            for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"] {
                set_owner(&directory.join(file), helper).map_err(at(&directory.join(file)))?;
            }
        }
    }
    Ok(())
}

/// Copies cpus and mems from the parent: a new v1 cpuset has none, and no process can enter it.
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

fn set_owner_and_mode(directory: &Path, owner: Ids, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let now = fs::symlink_metadata(directory)?;
    if (now.uid(), now.gid()) != (owner.uid, owner.gid) {
        set_owner(directory, owner)?;
    }
    if now.mode() & 0o7777 != mode {
        chmodat(CWD, directory, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())?;
    }
    Ok(())
}

fn set_owner(file: &Path, owner: Ids) -> io::Result<()> {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    match chownat(CWD, file, Some(owner.user()), Some(owner.group()), flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes the cgroups; waits up to [`BUSY_TIMEOUT`] for killed processes. Returns those that are left.
pub fn remove(delegation: &Delegation) -> Vec<PathBuf> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    let mut left = Vec::new();
    for cgroup in &delegation.0 {
        loop {
            remove_recursive(cgroup, 8);
            if !cgroup.exists() {
                break;
            }
            if Instant::now() >= deadline {
                left.push(cgroup.clone());
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Fails while another instance has its cgroup there.
        let _ = cgroup.parent().map(fs::remove_dir);
    }
    left
}

fn remove_recursive(directory: &Path, depth: u32) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if depth > 0 {
            remove_recursive(&entry.path(), depth - 1);
        }
    }
    let _ = fs::remove_dir(directory);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_candidates_go_up_and_v1_stays_in_the_own_cgroup() {
        let of = |kind| Hierarchy { mount: "/c".into(), own: "/c/a/b".into(), kind };
        let found = candidates(&[of(Kind::Unified), of(Kind::V1)], "casemate-1");
        let paths = |n: usize| found[n].1.iter().map(|p| p.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(paths(0), ["/c/a/b/casemate/casemate-1", "/c/a/casemate/casemate-1", "/c/casemate/casemate-1"]);
        assert_eq!(paths(1), ["/c/a/b/casemate/casemate-1"]);
    }

    #[test]
    fn cgroup_is_created_while_another_instance_removes_the_parent() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: creating cgroups needs root");
            return;
        }
        let identities = services();
        let hierarchies = hierarchies_of_host().unwrap();
        let create_and_remove = |instance: &str| {
            let places = candidates(&hierarchies, &format!("casemate-test-{}-{instance}", std::process::id()));
            for _ in 0..200 {
                let delegation = delegate(&places, &identities).unwrap();
                assert_eq!(delegation.0.len(), places.len());
                assert_eq!(remove(&delegation), Vec::<PathBuf>::new());
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| create_and_remove("a"));
            scope.spawn(|| create_and_remove("b"));
        });
    }

    fn services() -> Identities {
        let ids = |n| Ids { uid: n, gid: n };
        let range = super::super::Range { base: 70_000, count: 10 };
        Identities::Service { manager: ids(60_001), helper: ids(60_002), fetch: ids(60_003), range }
    }

    #[test]
    fn cgroup_is_created_entered_and_removed() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: creating cgroups needs root");
            return;
        }
        let identities = services();
        let name = format!("casemate-test-{}", std::process::id());
        let places = candidates(&hierarchies_of_host().unwrap(), &name);
        let delegation = delegate(&places, &identities).unwrap();
        assert_eq!(delegation.0.len(), places.len());
        for procs in delegation.procs_files() {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(fs::metadata(&procs).unwrap().uid(), 60_002, "{}", procs.display());
        }
        for cgroup in &delegation.0 {
            for limit in ["memory.limit_in_bytes", "memory.max", "cpuset.cpus", "pids.max"] {
                use std::os::unix::fs::MetadataExt;
                assert!(fs::metadata(cgroup.join(limit)).map_or(true, |file| file.uid() == 0), "{limit}");
            }
        }
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        for procs in delegation.procs_files() {
            fs::write(procs, sleeper.id().to_string()).unwrap();
        }
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert_eq!(remove(&delegation), Vec::<PathBuf>::new());
        assert!(delegation.0.iter().all(|cgroup| !cgroup.exists()));
    }
}
