//! The cgroup hierarchies of this host, and a subtree for peers that need one made for them.

use crate::failure::{Result, Step};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

/// Where the hierarchies that matter here are mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// The unified one.
    pub v2: Option<PathBuf>,
    /// Controller and mount point of those on hierarchies of their own.
    pub v1: Vec<(String, PathBuf)>,
}

impl Hierarchies {
    /// As this process sees them.
    pub fn read() -> Result<Self> {
        let text = fs::read_to_string("/proc/self/mountinfo").step("read /proc/self/mountinfo")?;
        Ok(Self::parse(&text))
    }

    fn parse(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(point) = left.split(' ').nth(4) else { continue };
            let mut right = right.split(' ');
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) => found.v2 = Some(point.into()),
                (Some("cgroup"), Some(options)) => {
                    let wanted = |option: &&str| ["memory", "cpu", "pids"].contains(option);
                    let controllers = options.split(',').filter(wanted);
                    found.v1.extend(controllers.map(|name| (name.to_owned(), PathBuf::from(point))));
                }
                _ => {}
            }
        }
        found
    }

    /// True where v2 is not the whole of it, so that tools which look for cgroup2 at /sys/fs/cgroup fail.
    pub fn hybrid(&self) -> bool {
        !self.v1.is_empty()
    }
}

/// The leaf for the process that starts the others: a cgroup that passes controllers on holds no process itself. The name is the
/// one by which the helper knows that the directory above was delegated.
const LEAF: &str = "helper";

/// A directory of one name in every hierarchy, removed when dropped.
#[derive(Debug)]
pub struct Subtree {
    made: Vec<PathBuf>,
    /// The directory on the unified hierarchy.
    pub v2: Option<PathBuf>,
    /// Controller and directory on the others.
    pub v1: Vec<(String, PathBuf)>,
}

impl Subtree {
    /// Makes it, owned by `owner`, with the controllers passed on where they are unified.
    pub fn make(hierarchies: &Hierarchies, name: &str, owner: u32) -> Result<Self> {
        let mut tree = Self { made: Vec::new(), v2: None, v1: Vec::new() };
        if let Some(point) = &hierarchies.v2 {
            let directory = tree.directory(point, name, owner)?;
            if !hierarchies.hybrid() {
                for at in [point, &directory] {
                    let enable = at.join("cgroup.subtree_control");
                    fs::write(&enable, "+memory +cpu +pids").step(format_args!("write {}", enable.display()))?;
                }
            }
            tree.directory(&directory, LEAF, owner)?;
            tree.v2 = Some(directory);
        }
        for (controller, point) in &hierarchies.v1 {
            let directory = tree.directory(point, name, owner)?;
            tree.directory(&directory, LEAF, owner)?;
            tree.v1.push((controller.clone(), directory));
        }
        Ok(tree)
    }

    /// The file that a server writes itself into, so that it may place its children beside it.
    pub fn server(&self) -> Option<PathBuf> {
        Some(self.v2.as_ref()?.join(LEAF).join("cgroup.procs"))
    }

    /// The same of every hierarchy.
    pub fn servers(&self) -> Vec<PathBuf> {
        let leaves = self.made.iter().filter(|path| path.ends_with(LEAF));
        leaves.map(|path| path.join("cgroup.procs")).collect()
    }

    fn directory(&mut self, point: &Path, name: &str, owner: u32) -> Result<PathBuf> {
        let path = point.join(name);
        if !self.made.contains(&path) {
            fs::create_dir(&path).step(format_args!("make {}", path.display()))?;
            self.made.push(path.clone());
            let files = ["cgroup.procs", "tasks", "cgroup.subtree_control"].map(|file| path.join(file));
            for path in std::iter::once(&path).chain(files.iter().filter(|file| file.exists())) {
                chown(path, Some(owner), Some(owner)).step(format_args!("chown {}", path.display()))?;
            }
        }
        Ok(path)
    }
}

impl Drop for Subtree {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // What a start that failed has left.
            for left in fs::read_dir(path).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(left.path());
            }
            if let Err(error) = fs::remove_dir(path) {
                eprintln!("casemate-bench: remove {}: {error}", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_and_unified_hosts() {
        let hybrid = "33 31 0:31 / /c/memory rw - cgroup cgroup rw,memory\n\
                      34 31 0:32 / /c/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      41 31 0:38 / /c/unified rw shared:1 - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::parse(hybrid);
        assert_eq!(found.v2, Some("/c/unified".into()));
        assert_eq!(found.v1, [("memory".into(), "/c/memory".into()), ("cpu".into(), "/c/cpu,cpuacct".into())]);
        assert!(!Hierarchies::parse("41 31 0:38 / /c rw - cgroup2 cgroup2 rw\n").hybrid());
    }
}
