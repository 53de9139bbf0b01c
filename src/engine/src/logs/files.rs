//! The log files of one container: `<generation>.log`. The highest generation is written; a number of lower ones is kept.
//!
//! A rotation creates the next generation and removes the lowest; nothing is renamed, so a kill between two steps leaves a valid
//! directory.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

/// Bounds of a container's log files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes per file. A single longer chunk still goes into one file.
    pub size: u64,
    /// Number of files, the written one included; 1 or more.
    pub count: u64,
}

/// The written file and its directory.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    file: File,
    generation: u64,
    length: u64,
    bounds: Bounds,
}

impl Files {
    /// Opens the highest generation, or creates the first.
    pub fn open(directory: &Path, bounds: Bounds) -> io::Result<Self> {
        match fs::DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut existing = generations(directory)?;
        let generation = existing.pop().unwrap_or(1);
        for old in existing {
            truncate_to_records(&open(directory, old, OFlags::empty())?)?;
        }
        let file = open(directory, generation, OFlags::CREATE)?;
        let length = truncate_to_records(&file)?;
        Ok(Self { directory: directory.to_owned(), file, generation, length, bounds })
    }

    /// The bounds.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Changes the bounds, from the next record on.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// The written generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The length of the written file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Truncates the file to where a possibly half written chunk began: this length of this generation.
    pub fn rewind(&mut self, generation: u64, length: u64) -> io::Result<()> {
        if generation == self.generation && length <= self.length {
            self.file.set_len(length)?;
            self.length = length;
        }
        Ok(())
    }

    /// Starts the next generation if these bytes would exceed the size bound.
    pub fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        let after = self.length.saturating_add(bytes as u64);
        if self.length == 0 || after <= self.bounds.size {
            return Ok(());
        }
        let next = self.generation + 1;
        self.file = open(&self.directory, next, OFlags::CREATE | OFlags::TRUNC)?;
        self.generation = next;
        self.length = 0;
        self.keep(self.bounds.count)
    }

    /// Appends. On a full disk the older generations are removed first; a failed write leaves the file as it was.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut outcome = self.file.write_all_at(bytes, self.length);
        if outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull) {
            self.keep(1)?;
            outcome = self.file.write_all_at(bytes, self.length);
        }
        match outcome {
            Ok(()) => self.length += bytes.len() as u64,
            Err(error) => {
                self.file.set_len(self.length)?;
                return Err(error);
            }
        }
        Ok(())
    }

    fn keep(&self, count: u64) -> io::Result<()> {
        for old in generations(&self.directory)? {
            if old + count <= self.generation {
                fs::remove_file(path(&self.directory, old))?;
            }
        }
        Ok(())
    }
}

/// Truncates a file after its last complete record, and returns its length. After a power cut its end may be half a record, or zeros: a
/// file system may store the new length before the bytes (as ext4 does within an allocated block).
fn truncate_to_records(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut block = [0; 4096];
    while end > 0 {
        let begin = end.saturating_sub(block.len() as u64);
        let part = usize::try_from(end - begin).unwrap_or(block.len());
        let part = block.get_mut(..part).unwrap_or_default();
        file.read_exact_at(part, begin)?;
        if let Some(last) = part.iter().rposition(|byte| *byte == b'\n') {
            end = begin + last as u64 + 1;
            break;
        }
        end = begin;
    }
    if end < length {
        file.set_len(end)?;
    }
    Ok(end)
}

/// The existing generations, ascending.
pub fn generations(directory: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".log"));
        let number = digits.filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()));
        found.extend(number.and_then(|digits| digits.parse::<u64>().ok()).filter(|n| *n < u64::MAX / 2));
    }
    found.sort_unstable();
    Ok(found)
}

/// The file of a generation.
pub fn path(directory: &Path, generation: u64) -> PathBuf {
    directory.join(format!("{generation}.log"))
}

fn open(directory: &Path, generation: u64, flags: OFlags) -> io::Result<File> {
    let all = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path(directory, generation), all, Mode::from_raw_mode(0o600)) {
        Ok(file) => Ok(file.into()),
        Err(Errno::LOOP) => Err(io::Error::other("the log file is a symbolic link")),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_28_flood_of_output_stays_within_the_bounds() {
        let base = tempfile::tempdir().unwrap();
        let mut files = Files::open(base.path(), Bounds { size: 1000, count: 3 }).unwrap();
        for _ in 0..100 {
            files.make_room(300).unwrap();
            files.append(format!("{}\n", "x".repeat(299)).as_bytes()).unwrap();
        }
        let kept = generations(base.path()).unwrap();
        assert_eq!(kept.len(), 3);
        let total: u64 = kept.iter().map(|n| path(base.path(), *n).metadata().unwrap().len()).sum();
        assert!(total <= 3000, "{total}");
        let again = Files::open(base.path(), Bounds { size: 1000, count: 3 }).unwrap();
        assert_eq!((again.generation(), again.length()), (files.generation(), files.length()));
    }

    #[test]
    fn rewind_truncates_the_written_generation_only() {
        let base = tempfile::tempdir().unwrap();
        let mut files = Files::open(base.path(), Bounds { size: 1000, count: 3 }).unwrap();
        files.append(b"whole\nhalf").unwrap();
        files.rewind(files.generation() + 1, 0).unwrap();
        assert_eq!(files.length(), 10);
        files.rewind(files.generation(), 6).unwrap();
        assert_eq!(fs::read(path(base.path(), files.generation())).unwrap(), b"whole\n");
    }

    #[test]
    fn files_with_other_names_are_ignored() {
        let base = tempfile::tempdir().unwrap();
        for name in ["1.log", "02.log", "x.log", "-1.log", "99999999999999999999.log", "3.log.gz", ".log"] {
            fs::write(base.path().join(name), "").unwrap();
        }
        assert_eq!(generations(base.path()).unwrap(), [1, 2]);
    }

    #[test]
    fn incomplete_records_after_a_power_cut_are_removed() {
        let base = tempfile::tempdir().unwrap();
        let zeros = "\0".repeat(10_000);
        for (found, kept) in
            [("a\nb\n", "a\nb\n"), ("a\nhalf", "a\n"), (&format!("a\n{zeros}"), "a\n"), (&zeros, ""), ("", "")]
        {
            fs::write(path(base.path(), 1), found).unwrap();
            let mut files = Files::open(base.path(), Bounds { size: 1000, count: 3 }).unwrap();
            files.append(b"c\n").unwrap();
            assert_eq!(fs::read_to_string(path(base.path(), 1)).unwrap(), format!("{kept}c\n"));
        }
    }
}
