//! The host's view: processes, mounts, files, asked from /proc.

use rustix::process::{Pid, Signal};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

/// Reads a pipe to its end in a thread of its own.
pub fn read_to_end(pipe: OwnedFd) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        File::from(pipe).read_to_string(&mut text).unwrap();
        text
    })
}

/// One process of the host.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its id on the host.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// `Name` of its status.
    pub name: String,
    /// Real, effective, saved and file system uid.
    pub uids: Vec<u32>,
    /// State letter.
    pub state: char,
    /// The whole status.
    pub status: String,
}

impl Process {
    /// The process of this id, if there is one.
    pub fn of(pid: i32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            line.unwrap_or_default().to_owned()
        };
        Some(Self {
            pid,
            parent: field("PPid").parse().ok()?,
            arguments: arguments
                .split(|byte| *byte == 0)
                .filter(|word| !word.is_empty())
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect(),
            name: field("Name"),
            uids: field("Uid").split('\t').filter_map(|uid| uid.parse().ok()).collect(),
            state: field("State").chars().next()?,
            status,
        })
    }

    /// A field of its status.
    pub fn field(&self, name: &str) -> &str {
        let line = self.status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or_default()
    }

    /// The file it executes, where that may be known.
    pub fn program(&self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/exe", self.pid)).ok()
    }
}

/// All processes.
pub fn processes() -> Vec<Process> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| Process::of(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Processes below these, their children and so on, without themselves.
pub fn descendants(of: &[i32]) -> Vec<Process> {
    let all = processes();
    let mut family: Vec<i32> = of.to_vec();
    let mut found: Vec<Process> = Vec::new();
    loop {
        let more: Vec<Process> = all
            .iter()
            .filter(|process| family.contains(&process.parent) && !family.contains(&process.pid))
            .cloned()
            .collect();
        if more.is_empty() {
            return found;
        }
        family.extend(more.iter().map(|process| process.pid));
        found.extend(more);
    }
}

/// Sends a signal to one process; false if it is gone.
pub fn signal(pid: i32, signal: Signal) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok())
}

/// A device node of this host that everybody may open, with an inode of its own; gone when dropped. Needs root.
#[derive(Debug)]
pub struct OpenDevice(String);

impl OpenDevice {
    /// Makes another node of /dev/zero's device.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = format!("/dev/casemate-test-{}-{number}", std::process::id());
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, rustix::fs::makedev(1, 5)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.0
    }
}

impl Default for OpenDevice {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for OpenDevice {
    fn drop(&mut self) {
        // Were it to stay, it would be one more /dev/zero.
        let _ = fs::remove_file(&self.0);
    }
}

/// Lines of this host's mountinfo that name a path.
pub fn mounts_of(path: &Path) -> Vec<String> {
    let name = path.to_str().unwrap();
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mountinfo.lines().filter(|line| line.contains(name)).map(str::to_owned).collect()
}
