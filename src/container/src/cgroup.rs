//! A container's cgroups below the directories that were delegated to the helper: made, filled with limits, read, removed.

mod limits;

use crate::paths::open_directory;
use casemate_confine::{At, Error};
use casemate_wire::{CgroupFacts, Limits, Name};
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

    /// The cgroups of a new container. That of v2 is made; it has no limits yet.
    pub fn make(&self, name: &Name, limits: &Limits) -> Result<Cgroup, Error> {
        let leaf = format!("{PREFIX}{name}");
        let wanted = limits::wanted(limits);
        let v1 = self.v1.iter().filter(|(controller, _)| wanted.contains(&controller.as_str()));
        let v1 = v1.map(|(controller, directory)| (controller.clone(), directory.join(&leaf))).collect();
        let v2 = self.v2.as_ref().map(|v2| v2.join(&leaf));
        v2.iter().try_for_each(make_directory)?;
        Ok(Cgroup { v2, v1 })
    }

    /// Writes the limits, each read back.
    pub fn limit(&self, cgroup: &Cgroup, limits: &Limits) -> Result<(), Error> {
        let Limits::Enforced(resources) = limits else { return Ok(()) };
        for controller in limits::wanted(limits) {
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

fn make_directory(directory: &PathBuf) -> Result<(), Error> {
    // A cgroup that was busy when its container ended still has its limits and counts.
    let _ = fs::remove_dir(directory);
    fs::create_dir(directory).at(directory.display())
}

impl Cgroup {
    /// Makes those of v1, of which one takes no process while it has no processors.
    pub fn make_v1(&self, limits: &Limits) -> Result<(), Error> {
        for (controller, directory) in &self.v1 {
            make_directory(directory)?;
            if let ("cpuset", Limits::Enforced(resources)) = (controller.as_str(), limits) {
                limits::write_v1(directory, controller, resources)?;
            }
        }
        Ok(())
    }

    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        self.v2.iter().chain(self.v1.iter().map(|(_, directory)| directory))
    }

    /// The v2 directory, for CLONE_INTO_CGROUP.
    pub fn open_v2(&self) -> Result<Option<OwnedFd>, Error> {
        self.v2.as_ref().map(|path| open_directory(path)).transpose()
    }

    /// Puts the calling thread, the only one of its process, into those of v1.
    pub fn join_v1(&self) -> Result<(), Error> {
        for (_, directory) in &self.v1 {
            // 0 is the writing thread. `cgroup.procs`, and any other number, would wait for an RCU grace period.
            let tasks = directory.join("tasks");
            fs::write(&tasks, "0").at(tasks.display())?;
        }
        Ok(())
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
