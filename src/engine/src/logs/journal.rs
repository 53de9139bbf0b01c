//! Where the chunk that is in the holding pipe begins: one record of fixed size, written in one pwrite before the chunk moves.

use super::cri::Stream;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: [u8; 7] = *b"casemLG";
const SIZE: usize = 24;

/// One chunk's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where it was taken from.
    pub stream: Stream,
    /// The log file that it goes to.
    pub generation: u64,
    /// Bytes of the file before it.
    pub length: u64,
}

/// The open journal of one container. A kill leaves the old record or the new one: a write within a page is not cut.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Opens it, made where it is missing.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?.into()))
    }

    /// Replaces the record.
    pub fn write(&self, place: Place) -> io::Result<()> {
        let mut record = [0; SIZE];
        let stream = match place.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        };
        let bytes =
            MAGIC.into_iter().chain([stream]).chain(place.generation.to_le_bytes()).chain(place.length.to_le_bytes());
        record.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        self.0.write_all_at(&record, 0)
    }

    /// The record, where there is a valid one.
    pub fn read(&self) -> Option<Place> {
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
        Some(Place { stream, generation: u64::from_le_bytes(*generation), length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_and_nonsense_does_not() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("j");
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.read(), None);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let place = Place { stream, generation: 7, length: u64::MAX };
            journal.write(place).unwrap();
            assert_eq!(Journal::open(&path).unwrap().read(), Some(place));
        }
        std::fs::write(&path, [0; SIZE]).unwrap();
        assert_eq!(journal.read(), None);
    }
}
