//! The mounts, from /proc/self/mountinfo.

use serde::{Deserialize, Serialize};

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where.
    pub target: String,
    /// Which directory of the file system is its root.
    pub root: String,
    /// File system type.
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// Options of the mount (`ro`, `nosuid`).
    pub options: Vec<String>,
    /// `shared:N`, `master:N`; empty for a private mount.
    pub propagation: Vec<String>,
    /// Options of the file system (`size=`, `lowerdir=`).
    pub super_options: Vec<String>,
}

/// Asks.
pub fn gather() -> Vec<Mount> {
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    String::from_utf8_lossy(&text).lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Mount> {
    // 36 35 98:0 /root /target rw,noatime master:1 - ext3 /dev/root rw,errors=continue (proc_pid_mountinfo(5))
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let mut right = right.split(' ');
    let list = |options: &str| options.split(',').map(str::to_owned).collect();
    Some(Mount {
        root: left.next()?.to_owned(),
        target: left.next()?.to_owned(),
        options: list(left.next()?),
        propagation: left.map(str::to_owned).collect(),
        kind: right.next()?.to_owned(),
        source: right.next()?.to_owned(),
        super_options: list(right.next().unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_manual_page_is_read() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = parse(line).unwrap();
        assert_eq!((mount.root.as_str(), mount.target.as_str()), ("/mnt1", "/mnt2"));
        assert_eq!(mount.options, ["rw", "noatime"]);
        assert_eq!(mount.propagation, ["master:1"]);
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("ext3", "/dev/root"));
        assert_eq!(mount.super_options, ["rw", "errors=continue"]);
    }
}
