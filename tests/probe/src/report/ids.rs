//! Ids, maps, capability sets, and the bits that keep a process from gaining more.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;

/// Who the payload is and what it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Real, effective and saved uid.
    pub uid: [u32; 3],
    /// Real, effective and saved gid.
    pub gid: [u32; 3],
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Lines of uid_map: inside, outside, count.
    pub uid_map: Vec<[u32; 3]>,
    /// Lines of gid_map.
    pub gid_map: Vec<[u32; 3]>,
    /// `allow` or `deny`.
    pub setgroups: String,
    /// The five sets, hexadecimal as the kernel writes them.
    pub capabilities: CapabilitySets,
    /// PR_GET_SECUREBITS, or -errno.
    pub securebits: i32,
    /// PR_GET_DUMPABLE, or -errno.
    pub dumpable: i32,
    /// No exec can give anything.
    pub no_new_privs: bool,
    /// 2: a filter.
    pub seccomp_mode: u32,
    /// How many filters are stacked.
    pub seccomp_filters: u32,
    /// Octal.
    pub umask: String,
    /// The namespaces by kind: `user:[4026531837]`.
    pub namespaces: BTreeMap<String, String>,
    /// Lines of /proc/self/cgroup.
    pub cgroup: Vec<String>,
}

/// The five capability sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilitySets {
    /// Inheritable.
    pub inheritable: String,
    /// Permitted.
    pub permitted: String,
    /// Effective.
    pub effective: String,
    /// Bounding.
    pub bounding: String,
    /// Ambient.
    pub ambient: String,
}

/// Asks.
pub fn gather() -> Identity {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or("unknown").trim().to_owned()
    };
    let number = |name: &str| field(name).parse().unwrap_or(u32::MAX);
    Identity {
        uid: resuid(),
        gid: resgid(),
        groups: groups(),
        uid_map: map("/proc/self/uid_map"),
        gid_map: map("/proc/self/gid_map"),
        setgroups: line("/proc/self/setgroups"),
        capabilities: CapabilitySets {
            inheritable: field("CapInh"),
            permitted: field("CapPrm"),
            effective: field("CapEff"),
            bounding: field("CapBnd"),
            ambient: field("CapAmb"),
        },
        securebits: prctl(libc::PR_GET_SECUREBITS),
        dumpable: prctl(libc::PR_GET_DUMPABLE),
        no_new_privs: number("NoNewPrivs") == 1,
        seccomp_mode: number("Seccomp"),
        seccomp_filters: number("Seccomp_filters"),
        umask: field("Umask"),
        namespaces: namespaces(),
        cgroup: lines("/proc/self/cgroup"),
    }
}

fn line(path: &str) -> String {
    lines(path).into_iter().next().unwrap_or_default()
}

fn lines(path: &str) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn map(path: &str) -> Vec<[u32; 3]> {
    lines(path)
        .iter()
        .filter_map(|line| {
            let numbers: Vec<u32> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
            numbers.try_into().ok()
        })
        .collect()
}

fn namespaces() -> BTreeMap<String, String> {
    let Ok(directory) = fs::read_dir("/proc/self/ns") else { return BTreeMap::new() };
    let links = directory.flatten().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), target.to_string_lossy().into_owned()))
    });
    links.collect()
}

fn resuid() -> [u32; 3] {
    let mut real = u32::MAX;
    let mut effective = u32::MAX;
    let mut saved = u32::MAX;
    // SAFETY: the three pointers are to live uid_t that the kernel writes during the call.
    unsafe { libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved) };
    [real, effective, saved]
}

fn resgid() -> [u32; 3] {
    let mut real = u32::MAX;
    let mut effective = u32::MAX;
    let mut saved = u32::MAX;
    // SAFETY: the three pointers are to live gid_t that the kernel writes during the call.
    unsafe { libc::getresgid(&raw mut real, &raw mut effective, &raw mut saved) };
    [real, effective, saved]
}

fn groups() -> Vec<u32> {
    let mut list = [0; 1024];
    // SAFETY: the kernel writes at most 1024 gid_t, which is what the array holds.
    let count = unsafe { libc::getgroups(1024, list.as_mut_ptr()) };
    list.into_iter().take(usize::try_from(count).unwrap_or(0)).collect()
}

fn prctl(what: i32) -> i32 {
    // SAFETY: the PR_GET_ questions asked here read no argument and write to no memory.
    match unsafe { libc::prctl(what, 0, 0, 0, 0) } {
        -1 => std::io::Error::last_os_error().raw_os_error().map_or(-1, |errno| -errno),
        value => value,
    }
}
