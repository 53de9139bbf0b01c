//! Reads the log files of one container, across rotations and while they are written.

use super::files::{generations, path};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A position in the logs of one container.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    generation: u64,
    file: Option<File>,
    offset: u64,
}

impl Reader {
    /// Starts at the oldest kept record.
    pub fn oldest(directory: &Path) -> io::Result<Self> {
        let generation = generations(directory)?.first().copied().unwrap_or(1);
        Ok(Self { directory: directory.to_owned(), generation, file: None, offset: 0 })
    }

    /// Starts before the last `records` records.
    pub fn tail(directory: &Path, records: usize) -> io::Result<Self> {
        let mut missing = records;
        let mut start = Self::oldest(directory)?;
        for generation in generations(directory)?.into_iter().rev() {
            let Ok(bytes) = std::fs::read(path(directory, generation)) else { break };
            start.generation = generation;
            start.offset = bytes.len() as u64;
            let ends = bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
            // The start of the records is the end of the one before them; the last record has an end of its own.
            let mut seen = 0;
            for end in ends {
                if seen == missing {
                    start.offset = end as u64;
                    return Ok(start);
                }
                seen += 1;
            }
            start.offset = 0;
            missing -= seen.min(missing);
            if missing == 0 {
                break;
            }
        }
        Ok(start)
    }

    /// The next bytes, not aligned to records; 0 at the current end.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.file.is_none() {
                match File::open(path(&self.directory, self.generation)) {
                    Ok(file) => self.file = Some(file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        if !self.next()? {
                            return Ok(0);
                        }
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            let Some(file) = &self.file else { return Ok(0) };
            let length = file.read_at(buffer, self.offset)?;
            self.offset += length as u64;
            // A file is complete once the next generation exists.
            if length > 0 || !self.next()? {
                return Ok(length);
            }
        }
    }

    /// Moves to the next generation, if it exists.
    fn next(&mut self) -> io::Result<bool> {
        let later = match generations(&self.directory) {
            Ok(all) => all.into_iter().find(|generation| *generation > self.generation),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let (Some(file), Some(_)) = (&self.file, later) {
            // The last bytes may have been written between the read and the rotation.
            if file.metadata()?.len() > self.offset {
                return Ok(true);
            }
        }
        let Some(later) = later else { return Ok(false) };
        self.generation = later;
        self.file = None;
        self.offset = 0;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::{Bounds, Files};
    use super::*;

    fn rest(reader: &mut Reader) -> String {
        let mut all = Vec::new();
        let mut buffer = [0; 7];
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => return String::from_utf8(all).unwrap(),
                length => all.extend_from_slice(&buffer[..length]),
            }
        }
    }

    #[test]
    fn reader_follows_rotations_and_new_records() {
        let base = tempfile::tempdir().unwrap();
        let mut files = Files::open(base.path(), Bounds { size: 8, count: 3 }).unwrap();
        let mut put = |text: &str| {
            files.make_room(text.len()).unwrap();
            files.append(text.as_bytes()).unwrap();
        };
        put("aa\nbb\n");
        let mut follower = Reader::oldest(base.path()).unwrap();
        assert_eq!(rest(&mut follower), "aa\nbb\n");
        put("cc\ndd\n");
        put("ee\n");
        assert_eq!(rest(&mut follower), "cc\ndd\nee\n");
        assert_eq!(rest(&mut Reader::oldest(base.path()).unwrap()), "aa\nbb\ncc\ndd\nee\n");
        let whole = ["", "ee\n", "dd\nee\n", "cc\ndd\nee\n", "bb\ncc\ndd\nee\n", "aa\nbb\ncc\ndd\nee\n"];
        for (count, text) in whole.iter().enumerate() {
            assert_eq!(rest(&mut Reader::tail(base.path(), count).unwrap()), *text, "{count}");
        }
        assert_eq!(rest(&mut Reader::tail(base.path(), 100).unwrap()), whole[5]);
    }

    #[test]
    fn missing_directory_is_not_found_and_an_empty_one_is_empty() {
        let base = tempfile::tempdir().unwrap();
        let missing = Reader::oldest(&base.path().join("x")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert_eq!(rest(&mut Reader::oldest(base.path()).unwrap()), "");
    }
}
