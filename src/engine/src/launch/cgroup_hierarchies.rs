//! The cgroup hierarchies of this host, and the cgroup of this process in each. Pure: parses the text of /proc/self/cgroup and
//! /proc/self/mountinfo.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// v1 controllers that limits use; each may share a hierarchy with others.
const V1: [&str; 5] = ["memory", "cpu", "pids", "cpuset", "blkio"];

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its mount point.
    pub mount: PathBuf,
    /// The directory of this process's cgroup: the mount point or below it.
    pub own: PathBuf,
    /// Its version, and whether it has the cpuset controller of v1.
    pub kind: Kind,
}

/// What a new cgroup needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// v2: its controllers are enabled in the parent.
    Unified,
    /// v1 with cpuset: cpus and mems are empty at first.
    V1WithCpuset,
    /// v1 without cpuset.
    V1,
}

/// The unified hierarchy and those of [`V1`], each once, in mount order.
pub fn hierarchies(cgroup: &str, mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for mount in mountinfo.lines().filter_map(mount) {
        let Some((controllers, path)) = cgroup.lines().find_map(|line| membership(line, &mount)) else {
            continue;
        };
        let is_used = mount.unified || controllers.split(',').any(|name| V1.contains(&name));
        if !is_used || seen.contains(&controllers) {
            continue;
        }
        let Some(own) = below(&mount.point, &mount.root, path) else { continue };
        let cpuset = controllers.split(',').any(|name| name == "cpuset");
        let kind = match (mount.unified, cpuset) {
            (true, _) => Kind::Unified,
            (false, true) => Kind::V1WithCpuset,
            (false, false) => Kind::V1,
        };
        seen.push(controllers);
        found.push(Hierarchy { mount: mount.point, own, kind });
    }
    found
}

struct Mount<'a> {
    root: PathBuf,
    point: PathBuf,
    unified: bool,
    options: &'a str,
}

/// A cgroup mount of a mountinfo line (proc_pid_mountinfo(5)).
fn mount(line: &str) -> Option<Mount<'_>> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let mut fields = after.split(' ');
    let unified = match fields.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    Some(Mount { root, point, unified, options: fields.nth(1)? })
}

/// Controllers and path of a line of /proc/self/cgroup, if it belongs to this mount (cgroups(7)).
fn membership<'a>(line: &'a str, mount: &Mount<'_>) -> Option<(&'a str, &'a str)> {
    let mut fields = line.splitn(3, ':');
    fields.next()?;
    let controllers = fields.next()?;
    let path = fields.next()?;
    let belongs = if mount.unified {
        controllers.is_empty()
    } else {
        let first = controllers.split(',').next()?;
        !first.is_empty() && mount.options.split(',').any(|option| option == first)
    };
    belongs.then_some((controllers, path))
}

/// The cgroup's directory below the mount point, if the mounted subtree contains it.
fn below(point: &Path, root: &Path, path: &str) -> Option<PathBuf> {
    let rest = Path::new(path).strip_prefix(root).ok()?;
    let normal = rest.components().all(|component| matches!(component, Component::Normal(_)));
    (normal && path.starts_with('/')).then(|| {
        let mut own = point.to_owned();
        own.extend(rest);
        own
    })
}

/// mountinfo writes blank, tab, line feed and backslash as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'\\'
            && let [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] = tail
        {
            bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_host_has_v1_and_v2_hierarchies() {
        let cgroup = "8:pids:/\n4:memory:/api/x\n3:cpu,cpuacct:/a\n2:cpuset:/\n1:name=systemd:/\n0::/u\n";
        let mountinfo = "\
            31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
            36 31 0:33 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw\n\
            42 31 0:38 / /elsewhere rw - cgroup2 cgroup2 rw\n";
        let found = hierarchies(cgroup, mountinfo);
        let shown: Vec<_> = found.iter().map(|h| (h.own.to_str().unwrap(), h.kind)).collect();
        assert_eq!(
            shown,
            [
                ("/sys/fs/cgroup/cpu,cpuacct/a", Kind::V1),
                ("/sys/fs/cgroup/cpuset", Kind::V1WithCpuset),
                ("/sys/fs/cgroup/memory/api/x", Kind::V1),
                ("/sys/fs/cgroup/uni fied/u", Kind::Unified),
            ]
        );
    }

    #[test]
    fn cgroup_outside_a_mounted_subtree_is_left_out() {
        let part = "30 1 0:1 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(hierarchies("0::/docker/abc/d\n", part)[0].own, Path::new("/sys/fs/cgroup/d"));
        assert!(hierarchies("0::/../other\n", part).is_empty());
        assert!(hierarchies("0::/docker/abcd\n", part).is_empty());
        assert!(hierarchies("0::/docker/abc/../x\n", part).is_empty());
    }

    #[test]
    fn malformed_text_gives_no_hierarchy() {
        for text in ["", "\n\n", "a b c", "- - -", "1 2 3 4 5 - cgroup2", "0::", "::::", " - cgroup2 x y"] {
            assert!(hierarchies(text, text).is_empty());
            assert!(hierarchies("0::/\n", text).is_empty());
        }
    }
}
