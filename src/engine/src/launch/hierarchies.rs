//! Which cgroup hierarchies this host has, and where in them we are. Pure: the texts of /proc/self/cgroup and
//! /proc/self/mountinfo in, directories out.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// Controllers of v1 that limits are set with, each on a hierarchy of its own or beside others.
const V1: [&str; 5] = ["memory", "cpu", "pids", "cpuset", "blkio"];

/// A mounted hierarchy that we are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Our own cgroup's directory: the mount or below it.
    pub own: PathBuf,
    /// The unified hierarchy, or a v1 one that has the cpuset controller, or another one.
    pub kind: Kind,
}

/// What to prepare in a new directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// v2: controllers are switched on from above.
    Unified,
    /// v1 with cpuset: cpus and mems start empty.
    V1WithCpuset,
    /// v1.
    V1,
}

/// The unified hierarchy and those of [`V1`], each once, in the order of the mounts.
pub fn hierarchies(cgroup: &str, mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for mount in mountinfo.lines().filter_map(mount) {
        let Some((controllers, path)) = cgroup.lines().find_map(|line| membership(line, &mount)) else {
            continue;
        };
        let wanted = mount.unified || controllers.split(',').any(|name| V1.contains(&name));
        if !wanted || seen.contains(&controllers) {
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
    let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
    let mut fields = after.split(' ');
    let unified = match fields.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    Some(Mount { root, point, unified, options: fields.nth(1)? })
}

/// Controllers and path of a line of /proc/self/cgroup, if it is about this mount (cgroups(7)).
fn membership<'a>(line: &'a str, mount: &Mount<'_>) -> Option<(&'a str, &'a str)> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let this = if mount.unified {
        controllers.is_empty()
    } else {
        let first = controllers.split(',').next()?;
        !first.is_empty() && mount.options.split(',').any(|option| option == first)
    };
    this.then_some((controllers, path))
}

/// Our directory below the mount point, if what is mounted contains it.
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
    fn a_hybrid_host() {
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
    fn a_mount_of_a_part_and_a_place_outside_it() {
        let part = "30 1 0:1 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(hierarchies("0::/docker/abc/d\n", part)[0].own, Path::new("/sys/fs/cgroup/d"));
        assert!(hierarchies("0::/../other\n", part).is_empty());
        assert!(hierarchies("0::/docker/abcd\n", part).is_empty());
        assert!(hierarchies("0::/docker/abc/../x\n", part).is_empty());
    }

    #[test]
    fn nonsense_gives_nothing() {
        for text in ["", "\n\n", "a b c", "- - -", "1 2 3 4 5 - cgroup2", "0::", "::::", " - cgroup2 x y"] {
            assert!(hierarchies(text, text).is_empty());
            assert!(hierarchies("0::/\n", text).is_empty());
        }
    }
}
