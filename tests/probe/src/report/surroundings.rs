//! The surroundings of the process: its arguments, environment, working directory and ids, and what lies in /dev and /etc.

use crate::answer::Answer;
use crate::process::isolated;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Error, Result};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Facts around the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// Arguments, the program included.
    pub arguments: Vec<String>,
    /// The environment, as it stands.
    pub environment: Vec<String>,
    /// Working directory, or an errno.
    pub directory: String,
    /// Host name of the UTS namespace.
    pub hostname: String,
    /// Process id.
    pub pid: u32,
    /// Parent's id; 0: outside of the pid namespace, or none.
    pub parent: u32,
    /// Generated files of /etc by name.
    pub etc: BTreeMap<String, String>,
    /// Entries of /dev: `c 1:3 0666`, `d`, `-> target`.
    pub dev: BTreeMap<String, String>,
    /// ABI of Landlock, or an errno.
    pub landlock: String,
    /// Answers that only Landlock or ownership decide, by what was tried.
    pub attempts: BTreeMap<String, String>,
}

/// Asks.
pub fn gather() -> Surroundings {
    let files = ["hosts", "hostname", "resolv.conf", "passwd", "group"];
    let read = |name: &str| match fs::read_to_string(format!("/etc/{name}")) {
        Ok(text) => text,
        error => Answer::of(&error).to_string(),
    };
    Surroundings {
        arguments: std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect(),
        environment: std::env::vars_os()
            .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
            .collect(),
        directory: match std::env::current_dir() {
            Ok(path) => path.to_string_lossy().into_owned(),
            error => Answer::of(&error).to_string(),
        },
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        parent: std::os::unix::process::parent_id(),
        etc: files.iter().map(|name| ((*name).to_owned(), read(name))).collect(),
        dev: dev(),
        landlock: landlock(),
        attempts: attempts(),
    }
}

fn dev() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/dev").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(data) = fs::symlink_metadata(entry.path()) else { continue };
        let kind = data.file_type();
        let numbers = format!(
            "{}:{} {:04o}",
            rustix::fs::major(data.rdev()),
            rustix::fs::minor(data.rdev()),
            data.mode() & 0o7777
        );
        let word = if kind.is_symlink() {
            fs::read_link(entry.path()).map_or_else(|_| "->".to_owned(), |to| format!("-> {}", to.display()))
        } else if kind.is_char_device() {
            format!("c {numbers}")
        } else if kind.is_block_device() {
            format!("b {numbers}")
        } else if kind.is_dir() {
            "d".to_owned()
        } else {
            "f".to_owned()
        };
        all.insert(name, word);
    }
    all
}

/// landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION)
fn landlock() -> String {
    // SAFETY: with a null attribute of size 0 and the version flag the call reads and writes no memory.
    match unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, 1) } {
        -1 => Answer::Refused(Error::last_os_error().raw_os_error().unwrap_or(0)).to_string(),
        version => version.to_string(),
    }
}

/// Something tried in a process of its own.
type Attempt = fn() -> Result<()>;

fn attempts() -> BTreeMap<String, String> {
    let all: [(&str, Attempt); 8] = [
        ("become root", || set_uid(0)),
        ("become another user", || set_uid(12_345)),
        ("raise the open file limit", raise_nofile),
        ("write own oom_score_adj lower", || fs::write("/proc/self/oom_score_adj", "-1000")),
        ("write own uid_map", || fs::write("/proc/self/uid_map", "0 0 1")),
        ("bind TCP port 8080", || std::net::TcpListener::bind(("127.0.0.1", 8080)).map(drop)),
        ("connect to TCP port 8080", || std::net::TcpStream::connect(("127.0.0.1", 8080)).map(drop)),
        ("remount the root", || {
            let flags = rustix::mount::MountFlags::empty();
            Ok(rustix::mount::mount_remount("/", flags, c"")?)
        }),
    ];
    all.into_iter().map(|(name, attempt)| (name.to_owned(), isolated(attempt).to_string())).collect()
}

fn set_uid(uid: u32) -> Result<()> {
    // SAFETY: setuid takes a number and touches no memory; the probe has one thread.
    if unsafe { libc::setuid(uid) } == -1 { Err(Error::last_os_error()) } else { Ok(()) }
}

fn raise_nofile() -> Result<()> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum = limit.maximum.map(|value| value.saturating_add(1));
    limit.current = limit.maximum;
    Ok(rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?)
}
