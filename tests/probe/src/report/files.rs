//! Descriptors that were inherited, and a walk over the tree that tries to write everywhere.

use crate::answer::Answer;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// One open descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Its number.
    pub number: u32,
    /// What /proc says it is.
    pub target: String,
}

/// What opened for writing. Nothing is written, and files made to try a directory are removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writable {
    /// Directories outside /proc, /sys and /dev in which a file could be made.
    pub directories: Vec<String>,
    /// Files, outside writable directories, /proc, /sys and /dev.
    pub files: Vec<String>,
    /// Files below /proc, without those of processes.
    pub proc: Vec<String>,
    /// Files below /proc/self, without the entries of tasks.
    pub proc_self: Vec<String>,
    /// Files below /sys.
    pub sys: Vec<String>,
    /// What below /dev opened, devices included, and directories in which a file could be made (with a final `/`).
    pub dev: Vec<String>,
    /// The answer to opening /proc/1/exe for writing.
    pub own_program: String,
    /// How many entries were looked at.
    pub entries: u64,
}

/// Asks.
pub fn descriptors() -> Vec<Descriptor> {
    let Ok(directory) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let all = directory.flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
        Some(Descriptor { number, target })
    });
    // The walk itself has the directory open; nothing else can refer to this process's own list.
    let own = format!("/proc/{}/fd", std::process::id());
    let mut all: Vec<Descriptor> = all.filter(|descriptor| descriptor.target != own).collect();
    all.sort_by_key(|descriptor| descriptor.number);
    all
}

/// Asks; only inside a container. A walk over a real host would open its watchdog and litter its directories.
pub fn writable() -> Writable {
    if !inside_a_container() {
        return Writable::default();
    }
    let mut root = Walk::default();
    root.below(Path::new("/"), &["/proc", "/sys", "/dev"]);
    let mut proc = Walk::default();
    proc.below(Path::new("/proc"), &["/proc/self", "/proc/thread-self"]);
    let mut own = Walk::default();
    own.below(Path::new("/proc/self"), &["/proc/self/task", "/proc/self/fd", "/proc/self/cwd", "/proc/self/root"]);
    let mut sys = Walk::default();
    sys.below(Path::new("/sys"), &[]);
    let mut dev = Walk::default();
    dev.below(Path::new("/dev"), &["/dev/fd"]);
    let entries = root.entries + proc.entries + own.entries + sys.entries + dev.entries;
    Writable {
        directories: root.directories,
        files: root.files,
        proc: proc.files,
        proc_self: own.files,
        sys: sys.files,
        dev: dev.files.into_iter().chain(dev.directories.into_iter().map(|d| d + "/")).collect(),
        own_program: Answer::of(&open_for_writing(Path::new("/proc/1/exe"))).to_string(),
        entries,
    }
}

/// Whether this is a container's first process, the child of its init, or a process that entered it (its parent is outside of the
/// pid namespace), and not the host's own root.
fn inside_a_container() -> bool {
    let every_id = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if every_id.split_whitespace().eq(["0", "0", "4294967295"]) {
        return false;
    }
    let init = fs::read_to_string("/proc/1/comm").unwrap_or_default();
    let below_init = std::os::unix::process::parent_id() == 1 && init.trim_end() == "casemate-init";
    std::process::id() == 1 || below_init || std::os::unix::process::parent_id() == 0
}

fn open_for_writing(path: &Path) -> std::io::Result<fs::File> {
    // No O_CREAT, no O_TRUNC: an open that works changes nothing. Not waiting for the other end of a FIFO.
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// More than any image of a test has; an endless tree must not make an endless report.
const MOST_ENTRIES: u64 = 400_000;

#[derive(Default)]
struct Walk {
    directories: Vec<String>,
    files: Vec<String>,
    entries: u64,
}

impl Walk {
    fn below(&mut self, start: &Path, without: &[&str]) {
        let mut left: Vec<PathBuf> = vec![start.to_owned()];
        while let Some(directory) = left.pop() {
            let writable = can_make_a_file(&directory);
            if writable {
                self.directories.push(directory.to_string_lossy().into_owned());
            }
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries.flatten() {
                self.entries += 1;
                if self.entries > MOST_ENTRIES {
                    return;
                }
                let path = entry.path();
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_symlink() || is_left_out(&path, without) {
                    continue;
                }
                if kind.is_dir() {
                    left.push(path);
                } else if !kind.is_socket() && !writable && !is_mask(&path) && open_for_writing(&path).is_ok() {
                    self.files.push(path.to_string_lossy().into_owned());
                }
            }
        }
        self.directories.sort();
        self.files.sort();
    }
}

/// Left out by name, or a process directory of procfs.
fn is_left_out(path: &Path, without: &[&str]) -> bool {
    let process = path.parent() == Some(Path::new("/proc"))
        && path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    process || without.iter().any(|left_out| path == Path::new(left_out))
}

/// A mask of procfs: /dev/null bound over a file, which takes all writes and keeps none.
fn is_mask(path: &Path) -> bool {
    let null = rustix::fs::makedev(1, 3);
    path.starts_with("/proc")
        && fs::metadata(path).is_ok_and(|data| data.file_type().is_char_device() && data.rdev() == null)
}

fn can_make_a_file(directory: &Path) -> bool {
    let path = directory.join(format!(".probe-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&path).is_ok();
    if made {
        // Were it to stay, the next walk would only see one file more.
        let _ = fs::remove_file(&path);
    }
    made
}
