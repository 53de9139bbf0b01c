//! The delegated cgroups: where they are, which controllers they have.
//!
//! Enters: `/proc/self/cgroup` and `/proc/self/mountinfo`. The helper lives in a leaf named `helper`; on each hierarchy the
//! directory above it was delegated. A container gets `c-NAME` beside that leaf.

mod limits;

use crate::paths::open_directory;
use casemate_confine::{At, Error};
use casemate_wire::{CgroupFacts, Limits, Name};
use rustix::fs::{Access, Mode, OFlags, access, open};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Controllers that casemate uses, by the names of cgroup v2.
const CONTROLLERS: [&str; 5] = ["memory", "pids", "cpu", "cpuset", "io"];

/// Directories on each hierarchy: a container's, or those that were delegated.
#[derive(Debug, Default)]
pub struct Cgroup {
    v2: Option<PathBuf>,
    /// Controller (name of v2) and its directory.
    v1: Vec<(String, PathBuf)>,
}

/// The delegated directories.
#[derive(Debug, Default)]
pub struct Delegated {
    top: Cgroup,
    v2_controllers: Vec<String>,
}

impl Delegated {
    /// Finds what was delegated to this process.
    pub fn find() -> Result<Self, Error> {
        let membership = fs::read_to_string("/proc/self/cgroup").at("/proc/self/cgroup")?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").at("/proc/self/mountinfo")?;
        let mut delegated = Self::default();
        // cgroups(7): hierarchy:controllers:path
        for line in membership.lines() {
            let Some((controllers, path)) = line.split_once(':').and_then(|(_, rest)| rest.split_once(':')) else {
                continue;
            };
            for controller in controllers.split(',') {
                let own = directory(&mounts, controller, path);
                match (own.and_then(|own| delegated_directory(&own)), v2_name(controller)) {
                    (Some(directory), _) if controller.is_empty() => delegated.top.v2 = Some(directory),
                    (Some(directory), Some(name)) => delegated.top.v1.push((name.to_owned(), directory)),
                    _ => {}
                }
            }
        }
        delegated.enable();
        delegated.sweep();
        Ok(delegated)
    }

    /// Turns on the controllers that the delegated directory of v2 may hand on.
    fn enable(&mut self) {
        let Some(v2) = &self.top.v2 else { return };
        let own = v1_names(&self.top.v1);
        for controller in CONTROLLERS.iter().filter(|name| !own.contains(name)) {
            // Refused for a controller that was not delegated. The file is read back.
            let _ = fs::write(v2.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        let on = fs::read_to_string(v2.join("cgroup.subtree_control")).unwrap_or_default();
        self.v2_controllers = on.split_whitespace().map(str::to_owned).collect();
    }

    /// Removes the cgroups of an earlier helper; its processes ended with its pid namespace.
    fn sweep(&self) {
        for directory in self.top.directories() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_name().as_encoded_bytes().starts_with(b"c-") {
                    let _ = fs::remove_dir(entry.path());
                }
            }
        }
    }

    /// The controllers that containers can have.
    pub fn facts(&self) -> CgroupFacts {
        CgroupFacts {
            v2: self.v2_controllers.clone(),
            v1: v1_names(&self.top.v1).into_iter().map(str::to_owned).collect(),
        }
    }

    /// Makes a container's cgroups and writes its limits, each read back.
    pub fn make(&self, name: &Name, limits: &Limits) -> Result<Cgroup, Error> {
        let leaf = format!("c-{name}");
        let wanted = limits::wanted(limits);
        let v1 = self.top.v1.iter().filter(|(controller, _)| wanted.contains(&controller.as_str()));
        let v1 = v1.map(|(controller, directory)| (controller.clone(), directory.join(&leaf))).collect();
        let cgroup = Cgroup { v2: self.top.v2.as_ref().map(|v2| v2.join(&leaf)), v1 };
        self.fill(&cgroup, limits, &wanted).inspect_err(|_| cgroup.remove())?;
        Ok(cgroup)
    }

    fn fill(&self, cgroup: &Cgroup, limits: &Limits, wanted: &[&str]) -> Result<(), Error> {
        for directory in cgroup.directories() {
            // A cgroup that was busy when its container ended still has its limits and counts.
            let _ = fs::remove_dir(directory);
            fs::create_dir(directory).at(directory.display())?;
        }
        let Limits::Enforced(resources) = limits else { return Ok(()) };
        for &controller in wanted {
            if let Some((_, directory)) = cgroup.v1.iter().find(|(name, _)| name == controller) {
                limits::write_v1(directory, controller, resources)?;
            } else if let (Some(directory), true) = (&cgroup.v2, self.v2_controllers.iter().any(|on| on == controller))
            {
                limits::write_v2(directory, controller, resources)?;
            } else {
                return Err(Error::not_enforceable(format_args!(
                    "no {controller} controller was delegated; start as root, or delegate a cgroup to this user"
                )));
            }
        }
        Ok(())
    }
}

impl Cgroup {
    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        self.v2.iter().chain(self.v1.iter().map(|(_, directory)| directory))
    }

    /// The v2 directory, for CLONE_INTO_CGROUP.
    pub fn open_v2(&self) -> Result<Option<OwnedFd>, Error> {
        self.v2.as_ref().map(|path| open_directory(path)).transpose()
    }

    /// `tasks` of each v1 directory, for the child to join by itself.
    pub fn open_tasks(&self) -> Result<Vec<OwnedFd>, Error> {
        let open_one = |(_, directory): &(String, PathBuf)| {
            let path = directory.join("tasks");
            open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).at(path.display())
        };
        self.v1.iter().map(open_one).collect()
    }

    /// How many processes the memory limit has killed.
    pub fn oom_kills(&self) -> u64 {
        let v1 = self.v1.iter().find(|(name, _)| name == "memory");
        let v1 = v1.map(|(_, directory)| directory.join("memory.oom_control"));
        let path = v1.or_else(|| Some(self.v2.as_ref()?.join("memory.events")));
        let text = path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.unwrap_or(0)
    }

    /// Removes the directories. They are empty: the container's pid namespace has ended.
    pub fn remove(&self) {
        for directory in self.directories() {
            // A directory that is still busy is swept at the helper's next start.
            let _ = fs::remove_dir(directory);
        }
    }
}

fn v1_names(v1: &[(String, PathBuf)]) -> Vec<&str> {
    v1.iter().map(|(name, _)| name.as_str()).collect()
}

fn v2_name(controller: &str) -> Option<&'static str> {
    let name = if controller == "blkio" { "io" } else { controller };
    CONTROLLERS.into_iter().find(|known| *known == name)
}

/// The directory above this process's leaf, if the helper may write there.
fn delegated_directory(own: &Path) -> Option<PathBuf> {
    let parent = own.parent()?;
    let ours = own.file_name()? == "helper" && access(parent, Access::WRITE_OK).is_ok();
    ours.then(|| parent.to_owned())
}

/// Where a cgroup path of a hierarchy is mounted: the v2 hierarchy has an empty controller name.
fn directory(mounts: &str, controller: &str, path: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        // proc(5): id parent dev root mountpoint options [optional] - fstype source super-options
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let root = left.next()?;
        let mountpoint = left.next()?;
        let mut right = right.split(' ');
        let fstype = right.next()?;
        let options = right.nth(1)?;
        let matches = match controller {
            "" => fstype == "cgroup2",
            name => fstype == "cgroup" && options.split(',').any(|option| option == name),
        };
        let below = path.strip_prefix(root.trim_end_matches('/'))?;
        matches.then(|| Path::new(mountpoint).join(below.trim_start_matches('/')))
    })
}

#[cfg(test)]
mod tests {
    use super::directory;
    use std::path::PathBuf;

    const MOUNTS: &str = "30 24 0:26 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n\
        31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        32 24 0:28 /box /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn a_cgroup_path_is_found_below_its_mount() {
        let at = |controller, path| directory(MOUNTS, controller, path);
        assert_eq!(at("memory", "/a/helper"), Some(PathBuf::from("/sys/fs/cgroup/memory/a/helper")));
        assert_eq!(at("cpu", "/helper"), Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/helper")));
        assert_eq!(at("", "/box/helper"), Some(PathBuf::from("/sys/fs/cgroup/unified/helper")));
        assert_eq!(at("", "/elsewhere"), None);
        assert_eq!(at("pids", "/"), None);
    }
}
