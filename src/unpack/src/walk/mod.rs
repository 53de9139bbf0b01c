//! `casemate-unpack list` and `measure`: what lies below `/`, which is a layer or a volume, mounted read-only.
//!
//! `list` writes a line for each entry to descriptor 0, in an order that depends on names alone: a layer is what it was when its
//! two lists are equal. One thread hashes, so that a proof beside containers that run leaves them the other processors.
//! `measure` writes nothing and opens directories only.

mod line;

use crate::budget::Budget;
use crate::confine;
use crate::fail::{refused, system};
use crate::names::{Names, printable};
use casemate_wire::{Failure, LayerReport, UnpackOutcome};
use line::CHUNK;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;

/// One descriptor a level.
const MAX_DEPTH: usize = 256;

/// What is done with what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Prove it later: every line is written.
    List,
    /// Know how much it takes.
    Measure,
}

/// Looks at everything below `/`.
pub fn run(purpose: Purpose) -> UnpackOutcome {
    confine::for_walk()?;
    let failed = |step, object: &'static str| move |errno| system(step, object.as_bytes(), errno);
    let out = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).map_err(failed("open list", "stdin"))?;
    let root = rustix::fs::open("/", DIRECTORY, Mode::empty()).map_err(failed("open directory", "/"))?;
    walk(&root, purpose, File::from(out))
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A pipe that a volume's owner has put in the place of a file is not waited for.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

fn walk(root: &OwnedFd, purpose: Purpose, out: impl Write) -> UnpackOutcome {
    let out = BufWriter::with_capacity(1 << 18, out);
    let mut walker =
        Walker { purpose, out, buffer: vec![0; CHUNK], budget: Budget::new(), report: LayerReport::default() };
    let stat = rustix::fs::fstat(root).map_err(|errno| system("stat", b"/", errno))?;
    walker.write(|_| line::of_directory("/", &stat, root))?;
    walker.directory(root, "", 0)?;
    walker.out.flush().map_err(|error| unwritten(&error))?;
    Ok(walker.report)
}

struct Walker<W: Write> {
    purpose: Purpose,
    out: BufWriter<W>,
    /// For the content of files.
    buffer: Vec<u8>,
    budget: Budget,
    report: LayerReport,
}

impl<W: Write> Walker<W> {
    /// Everything below a directory, whose path is given as lines show it, without a slash at its end.
    fn directory(&mut self, fd: &OwnedFd, path: &str, depth: usize) -> Result<(), Failure> {
        if depth >= MAX_DEPTH {
            return Err(refused("walk", format!("{path}: more than {MAX_DEPTH} directories deep")));
        }
        for name in Names::read(fd, path.as_bytes(), &self.budget)?.sorted().iter() {
            let path = format!("{path}/{}", printable(name));
            let failed = |step: &'static str| {
                let path = path.clone();
                move |errno| system(step, path.as_bytes(), errno)
            };
            let stat = match rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(errno) if self.passes_by(errno) => continue,
                stat => stat.map_err(failed("stat"))?,
            };
            self.report.entries += 1;
            self.report.bytes += u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
            let kind = FileType::from_raw_mode(stat.st_mode);
            let open = |flags| rustix::fs::openat(fd, name, flags, Mode::empty());
            if kind == FileType::Directory {
                let inner = match open(DIRECTORY) {
                    Err(errno) if self.passes_by(errno) => continue,
                    inner => inner.map_err(failed("open directory"))?,
                };
                self.write(|_| line::of_directory(&path, &stat, &inner))?;
                self.directory(&inner, &path, depth + 1)?;
                continue;
            }
            self.write(|buffer| match kind {
                FileType::RegularFile => line::of_file(&path, &stat, open(FILE).map_err(failed("open file"))?, buffer),
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(fd, name, Vec::new());
                    Ok(line::of_link(&path, &stat, target.map_err(failed("read link"))?.to_bytes()))
                }
                _ => Ok(line::of_node(&path, &stat)),
            })?;
        }
        Ok(())
    }

    /// A volume is in use while it is measured: what has gone since its name was read takes nothing. A layer has all of its files.
    fn passes_by(&self, errno: Errno) -> bool {
        self.purpose == Purpose::Measure && matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
    }

    /// Writes a line of a list; `line` gets the buffer for a file's content.
    fn write(&mut self, line: impl FnOnce(&mut [u8]) -> Result<String, Failure>) -> Result<(), Failure> {
        if self.purpose == Purpose::Measure {
            return Ok(());
        }
        let line = line(&mut self.buffer)?;
        self.out.write_all(line.as_bytes()).and_then(|()| self.out.write_all(b"\n")).map_err(|error| unwritten(&error))
    }
}

fn unwritten(error: &std::io::Error) -> Failure {
    system("write list", b"list", crate::decode::errno(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::sync::atomic::Ordering;

    fn list(root: &Path) -> String {
        let root = rustix::fs::open(root, DIRECTORY, Mode::empty()).unwrap();
        let file = tempfile::tempfile().unwrap();
        walk(&root, Purpose::List, file.try_clone().unwrap()).unwrap();
        let mut text = String::new();
        let mut file = file;
        std::io::Seek::rewind(&mut file).unwrap();
        std::io::Read::read_to_string(&mut file, &mut text).unwrap();
        text
    }

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        std::fs::create_dir_all(path.join("a/b")).unwrap();
        for n in 0..600 {
            std::fs::write(path.join(format!("a/{n}")), format!("{n}")).unwrap();
        }
        std::fs::write(path.join("a b\n"), "").unwrap();
        symlink("a b\n", path.join("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, path.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        root
    }

    #[test]
    fn inventory_has_one_line_per_entry_sorted_by_name() {
        let root = tree();
        let list = list(root.path());
        let paths: Vec<&str> = list.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(paths.len(), 606, "{list}");
        assert!(paths.is_sorted_by(|a, b| a.split('/').lt(b.split('/')) || *a == "/"), "{paths:?}");
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let line = list.lines().find(|line| line.starts_with("/a\\x20b\\x0a ")).unwrap();
        assert!(line.contains(empty), "{line}");
        assert!(list.contains("/link link") && list.contains("a\\x20b\\x0a\n"), "{list}");
    }

    #[test]
    fn volume_in_use_is_measured() {
        let volume = tempfile::tempdir().unwrap();
        let root = rustix::fs::open(volume.path(), DIRECTORY, Mode::empty()).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let entry = |n: u32| volume.path().join(format!("{n}"));
                while !over.load(Ordering::Relaxed) {
                    (0..64).for_each(|n| std::fs::create_dir(entry(n)).unwrap());
                    (0..64).for_each(|n| std::fs::remove_dir(entry(n)).unwrap());
                }
            });
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
            let mut walks = 0;
            let mut hits = 0;
            // On a busy machine the other thread may come late.
            let outcome = loop {
                match walk(&root, Purpose::Measure, std::io::sink()) {
                    Ok(report) => hits += u32::from(report.entries > 0),
                    Err(failure) => break Err(failure),
                }
                walks += 1;
                if (walks >= 500 && hits >= 50) || std::time::Instant::now() > deadline {
                    break Ok(());
                }
            };
            over.store(true, Ordering::Relaxed);
            outcome.unwrap();
            assert!(hits >= 50, "{hits} of {walks} walks found something");
        });
    }

    #[test]
    fn whatever_is_changed_shows() {
        let root = tree();
        let path = root.path().to_owned();
        let before = list(&path);
        assert_eq!(list(&path), before);
        let keep_time = |file: &Path, change: &dyn Fn()| {
            let stat = rustix::fs::lstat(file).unwrap();
            let above = rustix::fs::lstat(file.parent().unwrap()).unwrap();
            change();
            for (file, stat) in [(file, stat), (file.parent().unwrap(), above)] {
                let time = rustix::fs::Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
                let stamps = rustix::fs::Timestamps { last_access: time, last_modification: time };
                let none = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::utimensat(rustix::fs::CWD, file, &stamps, none).unwrap();
            }
        };
        let seven = path.join("a/7");
        let changes: [(&Path, &dyn Fn()); 5] = [
            (&seven, &|| std::fs::write(&seven, "8").unwrap()),
            (&seven, &|| std::fs::set_permissions(&seven, PermissionsExt::from_mode(0o600)).unwrap()),
            (&path.join("link"), &|| {
                std::fs::remove_file(path.join("link")).unwrap();
                symlink("elsewhere", path.join("link")).unwrap();
            }),
            (&path.join("a/b"), &|| {
                std::fs::set_permissions(path.join("a/b"), PermissionsExt::from_mode(0o700)).unwrap();
            }),
            (&path.join("new"), &|| std::fs::write(path.join("new"), "").unwrap()),
        ];
        let mut last = before;
        for (file, change) in changes {
            if file.symlink_metadata().is_ok() {
                keep_time(file, change);
            } else {
                change();
            }
            let now = list(&path);
            assert_ne!(now, last, "{}", file.display());
            last = now;
        }
        // A second, and nothing else.
        let time = rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 };
        let stamps = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, &seven, &stamps, AtFlags::empty()).unwrap();
        assert_ne!(list(&path), last);
    }
}
