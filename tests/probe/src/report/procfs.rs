//! What procfs shows: each entry of its first level, and the sensitive entries, which other runtimes have disclosed.

use crate::answer::Answer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Entries that are to be absent, empty or unreadable (threat 27).
const SENSITIVE: [&str; 18] = [
    "/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/timer_list", "/proc/acpi", "/proc/scsi", "/proc/interrupts",
    "/proc/asound", "/proc/latency_stats", "/proc/sched_debug", "/proc/sysrq-trigger", "/proc/kmsg", "/proc/kallsyms",
    "/proc/kpagecount", "/proc/kpageflags", "/proc/modules", "/sys/firmware", "/sys/devices/virtual/powercap",
];

/// What procfs shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Procfs {
    /// First level without processes: `directory of 3`, `empty`, `2048 bytes`, or an errno.
    pub entries: BTreeMap<String, String>,
    /// Ids of the processes that are visible.
    pub processes: Vec<u32>,
    /// Sensitive entries, by full path.
    pub sensitive: BTreeMap<String, String>,
    /// Network interfaces.
    pub interfaces: Vec<String>,
    /// Names of abstract sockets.
    pub abstract_sockets: Vec<String>,
    /// `user.max_user_namespaces`, where it can be read.
    pub max_user_namespaces: Option<String>,
}

/// Asks.
pub fn gather() -> Procfs {
    let mut entries = BTreeMap::new();
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        match name.parse() {
            Ok(pid) => processes.push(pid),
            Err(_) => {
                entries.insert(name, look(&entry.path()));
            }
        }
    }
    processes.sort_unstable();
    Procfs {
        entries,
        processes,
        sensitive: SENSITIVE.iter().map(|path| ((*path).to_owned(), look(Path::new(path)))).collect(),
        interfaces: interfaces(&fs::read_to_string("/proc/self/net/dev").unwrap_or_default()),
        abstract_sockets: abstract_sockets(&fs::read_to_string("/proc/self/net/unix").unwrap_or_default()),
        max_user_namespaces: fs::read_to_string("/proc/sys/user/max_user_namespaces")
            .ok()
            .map(|text| text.trim().to_owned()),
    }
}

fn look(path: &Path) -> String {
    match fs::metadata(path) {
        Err(error) => Answer::of::<()>(&Err(error)).to_string(),
        Ok(data) if data.is_dir() => match fs::read_dir(path).map(Iterator::count) {
            Ok(0) => "empty".to_owned(),
            Ok(count) => format!("directory of {count}"),
            error => Answer::of(&error).to_string(),
        },
        Ok(_) => match first_bytes(path) {
            Ok(0) => "empty".to_owned(),
            Ok(count) => format!("{count} bytes"),
            error => Answer::of(&error).to_string(),
        },
    }
}

/// How many bytes one read gives: enough to distinguish an empty file from one with content, and bounded.
fn first_bytes(path: &Path) -> std::io::Result<usize> {
    let mut file: File = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    file.read(&mut [0; 64])
}

fn interfaces(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

fn abstract_sockets(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.split_whitespace().nth(7)?.strip_prefix('@').map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_and_abstract_sockets_are_read() {
        let dev = "Inter-|   Receive\n face |bytes\n    lo:  1 2\n  eth0: 3 4\n";
        assert_eq!(interfaces(dev), ["lo", "eth0"]);
        let unix = "Num RefCount Protocol Flags Type St Inode Path\n\
            0: 2 0 10000 1 1 77 @name\n0: 2 0 10000 1 1 78 /run/x\n0: 3 0 0 1 3 79\n";
        assert_eq!(abstract_sockets(unix), ["name"]);
    }
}
