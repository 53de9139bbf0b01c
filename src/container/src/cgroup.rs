//! A container's cgroups below the directories that were delegated to the helper: made, filled with limits, read, removed.

mod limits;

use crate::paths::open_directory;
use casemate_confine::{At, Error};
use casemate_wire::{CgroupFacts, Limits, Name};
use rustix::fs::{Mode, OFlags, open};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What the name of a container's directory begins with; the container's name follows.
pub const PREFIX: &str = "c-";

/// Controller (name of v2) and its directory on cgroup v1.
pub type V1Directory = (String, PathBuf);

/// The delegated directories.
#[derive(Debug, Default)]
pub struct Delegated {
    /// On cgroup v2.
    pub v2: Option<PathBuf>,
    /// The controllers that it hands on.
    pub v2_controllers: Vec<String>,
    /// On cgroup v1.
    pub v1: Vec<V1Directory>,
}

/// The directories of one container.
#[derive(Debug)]
pub struct Cgroup {
    v2: Option<PathBuf>,
    v1: Vec<V1Directory>,
}

impl Delegated {
    /// The controllers that containers can have.
    pub fn facts(&self) -> CgroupFacts {
        let v1 = self.v1.iter().map(|(controller, _)| controller.clone());
        CgroupFacts { v2: self.v2_controllers.clone(), v1: v1.collect() }
    }

    /// Makes a container's cgroups and writes its limits, each read back.
    pub fn make(&self, name: &Name, limits: &Limits) -> Result<Cgroup, Error> {
        let leaf = format!("{PREFIX}{name}");
        let wanted = limits::wanted(limits);
        let v1 = self.v1.iter().filter(|(controller, _)| wanted.contains(&controller.as_str()));
        let v1 = v1.map(|(controller, directory)| (controller.clone(), directory.join(&leaf))).collect();
        let cgroup = Cgroup { v2: self.v2.as_ref().map(|v2| v2.join(&leaf)), v1 };
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
        let open_one = |(_, directory): &V1Directory| {
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
