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
/// Bytes of the names of a file's extended attributes: each becomes some words of a line.
const MOST_NAMES: usize = 1024;
/// Bytes of one read.
pub const CHUNK: usize = 32 * 1024;

/// A directory's, which is open.
pub fn of_directory(path: &str, stat: &Stat, fd: &OwnedFd) -> Result<String, Failure> {
    let mut line = begin(path, "dir", stat);
    line.push_str(" -");
    attributes(&mut line, path, fd)?;
    Ok(line)
}

/// A regular file's, which is hashed through this buffer.
pub fn of_file(path: &str, stat: &Stat, file: OwnedFd, buffer: &mut [u8]) -> Result<String, Failure> {
    let mut file = File::from(file);
    let mut hash = Sha256::new();
    loop {
        // A container that wakes up on this processor would wait for the next tick of the kernel.
        std::thread::yield_now();
        match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => hash.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(system("read file", path.as_bytes(), crate::decode::errno(&error))),
        }
    }
    let mut line = format!("{} {}", begin(path, "file", stat), Digest::from_bytes(hash.finalize().into()));
    attributes(&mut line, path, &OwnedFd::from(file))?;
    Ok(line)
}

/// A symbolic link's.
pub fn of_link(path: &str, stat: &Stat, target: &[u8]) -> String {
    format!("{} {}", begin(path, "link", stat), printable(target))
}

/// Any other's: a whiteout is a character device of number 0:0, and the overlay may make several names of one.
pub fn of_node(path: &str, stat: &Stat) -> String {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let device = (major(stat.st_rdev), minor(stat.st_rdev));
    match (kind, device) {
        (FileType::CharacterDevice, (0, 0)) => format!("{path} whiteout"),
        (FileType::Fifo, _) => format!("{} -", begin(path, "fifo", stat)),
        (kind, (major, minor)) => format!("{} {kind:?}:{major}:{minor}", begin(path, "node", stat)),
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
