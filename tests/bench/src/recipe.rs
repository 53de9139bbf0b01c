//! A job as C constants: the floor is compiled to do what the helper was asked to do.
//!
//! Whatever a later version of the plan adds to a job and this file does not know makes the floor do less, and so the
//! ratio worse: an omission can never flatter us.

use casemate_wire::{Job, Limits, Mount, Resources};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Where the floor finds and makes things.
#[derive(Debug)]
pub struct Places<'a> {
    /// Directories of the layers, bottom first.
    pub layers: &'a [PathBuf],
    /// An empty directory to mount on.
    pub root: &'a Path,
    /// Its directory on the unified hierarchy.
    pub v2: Option<&'a Path>,
    /// Controller and directory on the others.
    pub v1: &'a [(String, PathBuf)],
}

const TMPFS_FLAGS: &str = "MS_NOSUID | MS_NODEV";

/// The text of recipe.h.
pub fn header(job: &Job, places: &Places<'_>) -> String {
    let mut text = String::new();
    let layers: Vec<String> = places.layers.iter().rev().map(|path| path.display().to_string()).collect();
    define(&mut text, "LAYERS", &quoted(&format!("lowerdir={},userxattr", layers.join(":"))));
    define(&mut text, "ROOT", &quoted(&places.root.display().to_string()));
    define(&mut text, "PROC", if job.rootfs.proc.subset_pid { "\"subset=pid\"" } else { "NULL" });
    define(&mut text, "UID", &job.confinement.ids.uid.to_string());
    define(&mut text, "GID", &job.confinement.ids.gid.to_string());
    define(&mut text, "HOSTNAME", &quoted(&job.network.hostname));
    strings(&mut text, "masked", job.rootfs.proc.masked.iter().filter(|_| !job.rootfs.proc.subset_pid));
    strings(&mut text, "read_only", job.rootfs.proc.read_only.iter().filter(|_| !job.rootfs.proc.subset_pid));
    table(&mut text, "struct node", "nodes", nodes(job));
    table(&mut text, "struct tmpfs", "tmpfs", tmpfs(job));
    let hostname = format!("{}\n", job.network.hostname);
    let files = [
        ("etc/hostname", hostname.as_bytes()),
        ("etc/hosts", &job.network.hosts),
        ("etc/resolv.conf", &job.network.resolv_conf),
    ];
    let files = files.iter().enumerate().map(|(index, (path, content))| {
        let content = quoted(&String::from_utf8_lossy(content));
        format!("{{ \"dev/.{index}\", {}, {content} }}", quoted(path))
    });
    table(&mut text, "struct file", "files", files);
    groups(&mut text, job, places);
    text
}

fn nodes(job: &Job) -> impl Iterator<Item = String> {
    let fixed = ["null", "zero", "full", "random", "urandom", "tty"].map(|name| format!("/dev/{name}"));
    let fixed = fixed.into_iter().map(|path| (path.clone(), path));
    let more = job.rootfs.devices.iter().map(|device| (device.source.clone(), device.target.clone()));
    fixed.chain(more).map(|(source, target)| format!("{{ {}, {} }}", quoted(&source), quoted(inside(&target))))
}

fn tmpfs(job: &Job) -> Vec<String> {
    let entry = |target: &str, size: u64, inodes: u64, mode: u32, exec: bool| {
        let flags = if exec { TMPFS_FLAGS.to_owned() } else { format!("{TMPFS_FLAGS} | MS_NOEXEC") };
        let options = format!("mode={mode:o},size={size},nr_inodes={inodes}");
        format!("{{ {}, {}, {flags} }}", quoted(inside(target)), quoted(&options))
    };
    let shared = (job.rootfs.shm_size > 0).then(|| entry("dev/shm", job.rootfs.shm_size, 4096, 0o1777, false));
    let others = job.rootfs.mounts.iter().filter_map(|mount| match mount {
        Mount::Tmpfs { target, size, inodes, mode, exec } => Some(entry(target, *size, *inodes, *mode, *exec)),
        Mount::Volume { .. } | Mount::Bind { .. } => None,
    });
    shared.into_iter().chain(others).collect()
}

fn groups(text: &mut String, job: &Job, places: &Places<'_>) {
    let name = |directory: &Path| quoted(&directory.join("c").display().to_string());
    table(text, "const char *", "v1_groups", places.v1.iter().map(|(_, directory)| name(directory)));
    let tasks = places.v1.iter().map(|(_, directory)| quoted(&directory.join("c/tasks").display().to_string()));
    table(text, "const char *", "v1_tasks", tasks);
    table(text, "const char *", "v2_groups", places.v2.iter().map(|directory| name(directory)));
    let mut limits = Vec::new();
    if let Limits::Enforced(resources) = &job.limits {
        for (controller, directory) in places.v1 {
            limits.extend(v1_limits(controller, resources).map(|(file, value)| (directory.clone(), file, value)));
        }
        if let (Some(directory), []) = (places.v2, places.v1) {
            let values = v2_limits(resources).into_iter();
            limits.extend(values.map(|(file, value)| (directory.to_owned(), file, value)));
        }
    }
    let limits = limits.iter().map(|(directory, file, value)| {
        format!("{{ {}, \"{value}\" }}", quoted(&directory.join("c").join(file).display().to_string()))
    });
    table(text, "struct limit", "limits", limits);
}

fn v1_limits(controller: &str, resources: &Resources) -> impl Iterator<Item = (&'static str, String)> {
    let (file, value) = match controller {
        "memory" => ("memory.limit_in_bytes", Some(resources.memory.max.to_string())),
        "pids" => ("pids.max", Some(resources.pids.to_string())),
        _ => ("cpu.cfs_quota_us", resources.cpu_quota.map(|quota| quota.to_string())),
    };
    value.into_iter().map(move |value| (file, value))
}

fn v2_limits(resources: &Resources) -> Vec<(&'static str, String)> {
    let mut limits = vec![
        ("memory.max", resources.memory.max.to_string()),
        ("memory.swap.max", resources.memory.swap.to_string()),
        ("pids.max", resources.pids.to_string()),
    ];
    limits.extend(resources.cpu_quota.map(|quota| ("cpu.max", format!("{quota} 100000"))));
    limits
}

fn define(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "#define {name} {value}");
}

fn strings<'a>(text: &mut String, name: &str, values: impl Iterator<Item = &'a String>) {
    table(text, "const char *", name, values.map(|value| quoted(inside(value))));
}

fn table(text: &mut String, kind: &str, name: &str, entries: impl IntoIterator<Item = String>) {
    let entries: Vec<String> = entries.into_iter().collect();
    let _ = writeln!(text, "static {kind} const {name}[] = {{ {} }};", entries.join(", "));
}

/// A path of the container, relative to its root.
fn inside(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// A C string literal; everything but plain printable characters as three octal digits.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | b'?' | 0..=31 | 127.. => {
                let _ = write!(literal, "\\{byte:03o}");
            }
            _ => literal.push(char::from(byte)),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_cannot_be_left() {
        assert_eq!(quoted("a\"\\\n\u{e9}"), r#""a\042\134\012\303\251""#);
    }
}
