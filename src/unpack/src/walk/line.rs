//! One line of a list: `PATH TYPE MODE OWNER SIZE TIME CONTENT [ATTRIBUTE=DIGEST ...]`, words with one blank between them. What
//! stands in a name is written so that it is one word of plain ASCII.

use crate::fail::{refused, system};
use crate::names::printable;
use casemate_wire::{Digest, Failure};
use rustix::fs::{FileType, Stat, fgetxattr, flistxattr, major, minor};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// What the host's own policy puts on files, and may put on them anew.
const OF_THE_HOST: &[u8] = b"security.selinux";
/// Bytes of the names of a file's extended attributes: each becomes some words of a line that waits in memory.
const MOST_NAMES: usize = 1024;
/// Bytes of one read.
pub const CHUNK: usize = 128 * 1024;

/// A line, whole once no file is open for it any more.
pub struct Line {
    pub text: Vec<u8>,
    pub file: Option<OwnedFd>,
}

impl Line {
    /// A directory's, which is open.
    pub fn of_directory(path: &str, stat: &Stat, fd: &OwnedFd) -> Result<Self, Failure> {
        let mut text = begin(path, "dir", stat);
        text.push_str(" -");
        attributes(&mut text, path, fd)?;
        Ok(Self { text: text.into_bytes(), file: None })
    }

    /// A regular file's, whose content is yet to be hashed.
    pub fn of_file(path: &str, stat: &Stat, file: OwnedFd) -> Result<Self, Failure> {
        Ok(Self { text: begin(path, "file", stat).into_bytes(), file: Some(file) })
    }

    /// A symbolic link's.
    pub fn of_link(path: &str, stat: &Stat, target: &[u8]) -> Self {
        let text = format!("{} {}", begin(path, "link", stat), printable(target));
        Self { text: text.into_bytes(), file: None }
    }

    /// Any other's: a whiteout is a character device of number 0:0, and the overlay may make several names of one.
    pub fn of_node(path: &str, stat: &Stat) -> Self {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let device = (major(stat.st_rdev), minor(stat.st_rdev));
        let text = match (kind, device) {
            (FileType::CharacterDevice, (0, 0)) => format!("{path} whiteout"),
            (FileType::Fifo, _) => format!("{} -", begin(path, "fifo", stat)),
            (kind, (major, minor)) => format!("{} {kind:?}:{major}:{minor}", begin(path, "node", stat)),
        };
        Self { text: text.into_bytes(), file: None }
    }

    /// Hashes the open file, through this buffer, and closes it.
    pub fn take_digest(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let path = self.text.split(|&c| c == b' ').next().unwrap_or_default().to_vec();
        let mut file = File::from(file);
        let mut hash = Sha256::new();
        loop {
            // Threads that hash can keep every processor: a container that wakes up would wait for the next tick of the kernel.
            std::thread::yield_now();
            match file.read(buffer) {
                Ok(0) => break,
                Ok(count) => hash.update(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(system("read file", &path, crate::decode::errno(&error))),
            }
        }
        let mut text = format!(" {}", Digest::from_bytes(hash.finalize().into()));
        attributes(&mut text, &String::from_utf8_lossy(&path), &OwnedFd::from(file))?;
        self.text.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// The words that all have. A directory's size is its file system's matter.
fn begin(path: &str, kind: &str, stat: &Stat) -> String {
    let mode = stat.st_mode & 0o7777;
    let size = if kind == "dir" { 0 } else { stat.st_size };
    let uid = stat.st_uid;
    let gid = stat.st_gid;
    let time = stat.st_mtime;
    let nanos = stat.st_mtime_nsec;
    format!("{path} {kind} {mode:04o} {uid}:{gid} {size} {time}.{nanos:09}")
}

/// Extended attributes, sorted by name, each with the digest of its value.
fn attributes(text: &mut String, path: &str, fd: &OwnedFd) -> Result<(), Failure> {
    let failed = |errno| system("read extended attributes", path.as_bytes(), errno);
    // Nearly every file has none.
    let mut names = [0_u8; MOST_NAMES];
    let length = match flistxattr(fd, &mut names) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(Errno::RANGE) => {
            let what = format!("{path}: more than {MOST_NAMES} bytes of names");
            return Err(refused("read extended attributes", what));
        }
        length => length.map_err(failed)?,
    };
    each(text, path, fd, names.get(..length).unwrap_or_default())
}

fn each(text: &mut String, path: &str, fd: &OwnedFd, names: &[u8]) -> Result<(), Failure> {
    let mut names: Vec<&[u8]> = names.split(|&c| c == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let mut value = vec![0_u8; 1 << 16];
    for name in names.into_iter().filter(|name| *name != OF_THE_HOST) {
        let length = fgetxattr(fd, name, value.as_mut_slice());
        let length = length.map_err(|errno| system("read extended attributes", path.as_bytes(), errno))?;
        let digest = Digest::from_bytes(Sha256::digest(value.get(..length).unwrap_or_default()).into());
        // Writing to a string does not fail.
        let _ = write!(text, " {}={digest}", printable(name));
    }
    Ok(())
}
