//! The pump's journal: where the chunk in the spool pipe belongs in the log. One record of fixed size, written by one pwrite(2) before
//! the chunk is moved.

use super::cri::Stream;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: [u8; 7] = *b"casemLG";
const SIZE: usize = 24;

/// The position of a chunk in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The stream that it came from.
    pub stream: Stream,
    /// The generation of its log file.
    pub generation: u64,
    /// Its offset in that file.
    pub length: u64,
}

/// The journal of one container. After a kill it has the old record or the new one: a write within a page is not split.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Opens or creates it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?.into()))
    }

    /// Replaces the record.
    pub fn write(&self, position: Position) -> io::Result<()> {
        let mut record = [0; SIZE];
        let stream = match position.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        };
        let bytes = MAGIC
            .into_iter()
            .chain([stream])
            .chain(position.generation.to_le_bytes())
            .chain(position.length.to_le_bytes());
        record.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        self.0.write_all_at(&record, 0)
    }

    /// The record, if it is valid.
    pub fn read(&self) -> Option<Position> {
        let mut record = [0; SIZE];
        self.0.read_exact_at(&mut record, 0).ok()?;
        let (head, numbers) = record.split_first_chunk::<8>()?;
        let (generation, length) = numbers.split_first_chunk::<8>()?;
        let stream = match head.strip_prefix(&MAGIC)? {
            [1] => Stream::Stdout,
            [2] => Stream::Stderr,
            _ => return None,
        };
        let length = u64::from_le_bytes(*length.first_chunk()?);
        Some(Position { stream, generation: u64::from_le_bytes(*generation), length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_is_read_again_and_an_invalid_record_is_not() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("j");
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.read(), None);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let position = Position { stream, generation: 7, length: u64::MAX };
            journal.write(position).unwrap();
            assert_eq!(Journal::open(&path).unwrap().read(), Some(position));
        }
        std::fs::write(&path, [0; SIZE]).unwrap();
        assert_eq!(journal.read(), None);
    }
}
