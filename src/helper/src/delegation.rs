//! The cgroups that were delegated to the helper: where they are, which controllers they have.
//!
//! Enters: `/proc/self/cgroup` and `/proc/self/mountinfo`. The helper lives in a leaf named `helper`; on each hierarchy the
//! directory above it was delegated. The cgroups of containers lie beside that leaf.

use casemate_confine::{At, Error};
use casemate_container::cgroup::{Delegated, PREFIX};
use rustix::fs::{Access, access};
use std::fs;
use std::path::{Path, PathBuf};

/// Controllers that casemate uses, by the names of cgroup v2.
const CONTROLLERS: [&str; 5] = ["memory", "pids", "cpu", "cpuset", "io"];

/// Finds what was delegated to this process, turns the controllers on, and removes the cgroups of an earlier helper.
pub fn find() -> Result<Delegated, Error> {
    let membership = fs::read_to_string("/proc/self/cgroup").at("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").at("/proc/self/mountinfo")?;
    let mut delegated = Delegated::default();
    // cgroups(7): hierarchy:controllers:path
    for line in membership.lines() {
        let Some((controllers, path)) = line.split_once(':').and_then(|(_, rest)| rest.split_once(':')) else {
            continue;
        };
        for controller in controllers.split(',') {
            let own = directory(&mounts, controller, path);
            match (own.and_then(|own| delegated_directory(&own)), v2_name(controller)) {
                (Some(directory), _) if controller.is_empty() => delegated.v2 = Some(directory),
                (Some(directory), Some(name)) => delegated.v1.push((name.to_owned(), directory)),
                _ => {}
            }
        }
    }
    enable(&mut delegated);
    sweep(&delegated);
    Ok(delegated)
}

/// Turns on the controllers that the delegated directory of v2 may hand on.
fn enable(delegated: &mut Delegated) {
    let Some(control) = delegated.v2.as_ref().map(|v2| v2.join("cgroup.subtree_control")) else { return };
    for controller in CONTROLLERS.into_iter().filter(|name| delegated.v1.iter().all(|(own, _)| own != name)) {
        // Refused for a controller that was not delegated. The file is read back.
        let _ = fs::write(&control, format!("+{controller}"));
    }
    let on = fs::read_to_string(&control).unwrap_or_default();
    delegated.v2_controllers = on.split_whitespace().map(str::to_owned).collect();
}

/// Removes the cgroups of an earlier helper; its processes ended with its pid namespace.
fn sweep(delegated: &Delegated) {
    for directory in delegated.v2.iter().chain(delegated.v1.iter().map(|(_, directory)| directory)) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
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
