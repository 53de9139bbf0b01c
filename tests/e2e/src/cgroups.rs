//! Cgroups, from outside: a subtree given to an ordinary user, as systemd's Delegate= would, and what the kernel counts.

use crate::poll;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

/// The controllers that limits need.
const NEEDED: [&str; 3] = ["memory", "cpu", "pids"];
/// All that casemate can use.
const WANTED: [&str; 6] = ["memory", "cpu", "pids", "cpuset", "blkio", "io"];

/// One mounted hierarchy.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its controllers; of the unified one, those that the root offers.
    pub controllers: Vec<String>,
    /// cgroup v2.
    pub unified: bool,
}

/// The hierarchies that are mounted here and carry a controller that casemate can use, and the unified one in any case.
pub fn hierarchies() -> Vec<Hierarchy> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let all = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mount = PathBuf::from(left.split(' ').nth(4)?);
        let mut right = right.split(' ');
        match right.next()? {
            "cgroup2" => {
                let controllers = fs::read_to_string(mount.join("cgroup.controllers")).ok()?;
                let controllers = controllers.split_whitespace().map(str::to_owned).collect();
                Some(Hierarchy { mount, controllers, unified: true })
            }
            "cgroup" => {
                let controllers: Vec<String> = right.nth(1)?.split(',').map(str::to_owned).collect();
                let wanted = controllers.iter().any(|name| WANTED.contains(&name.as_str()));
                wanted.then_some(Hierarchy { mount, controllers, unified: false })
            }
            _ => None,
        }
    });
    all.collect()
}

/// Whether the cgroups that this process is in belong to its user, with all controllers that limits need.
pub fn own_is_delegated() -> bool {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let uid = rustix::process::getuid().as_raw();
    NEEDED.iter().all(|controller| {
        hierarchies().iter().any(|hierarchy| {
            let path = own.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let names = fields.next()?;
                let same = match hierarchy.unified {
                    true => names.is_empty(),
                    false => names.split(',').any(|name| hierarchy.controllers.iter().any(|c| c == name)),
                };
                same.then_some(fields.next()?)
            });
            let carries = hierarchy.controllers.iter().any(|name| name == controller);
            let directory = hierarchy.mount.join(path.unwrap_or("/").trim_start_matches('/'));
            carries && fs::metadata(directory).is_ok_and(|data| data.uid() == uid)
        })
    })
}

/// A subtree in every hierarchy that belongs to one user. Dropping it removes it, with what may be left below.
#[derive(Debug)]
pub struct Delegated {
    directories: Vec<PathBuf>,
}

impl Delegated {
    /// Makes the subtrees; needs root.
    pub fn new(name: &str, (uid, gid): (u32, u32)) -> Self {
        let mut directories = Vec::new();
        for hierarchy in hierarchies() {
            if hierarchy.unified {
                for controller in hierarchy.controllers.iter().filter(|name| WANTED.contains(&name.as_str())) {
                    // A root that has it on already refuses nothing; one that cannot is the machine's own matter.
                    let _ = fs::write(hierarchy.mount.join("cgroup.subtree_control"), format!("+{controller}"));
                }
            }
            let directory = hierarchy.mount.join(name);
            fs::create_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let ours = directory.join(file);
                if !hierarchy.unified && ours.exists() {
                    fs::write(ours, fs::read_to_string(hierarchy.mount.join(file)).unwrap()).unwrap();
                }
            }
            // The files that cgroups(7) names for delegation.
            for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"] {
                let path = directory.join(file);
                if path.exists() {
                    chown(&path, Some(uid), Some(gid)).unwrap();
                }
            }
            directories.push(directory);
        }
        Self { directories }
    }

    /// One directory for each hierarchy.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for directory in &self.directories {
            let gone = poll::within(poll::PATIENCE, || remove(directory).ok());
            assert!(gone.is_some() || std::thread::panicking(), "{} is busy", directory.display());
        }
    }
}

/// Removes a tree of cgroups; fails while a process is in it.
pub fn remove(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

/// All cgroup directories of this name, in every hierarchy.
pub fn find(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hierarchy in hierarchies() {
        collect(&hierarchy.mount, name, &mut found);
    }
    found
}

fn collect(directory: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name() == name {
                found.push(entry.path());
            }
            collect(&entry.path(), name, found);
        }
    }
}
