//! The writes and flushes of a disk, in order: the log that qemu's `blklogwrites` filter writes, in the format of the kernel's
//! dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst), and disks as a power cut would have left them.
//!
//! A disk with a write cache owes nothing of what it was given since the last flush, and all of what it was given before. So a
//! cut disk has every write before the last flush, every write that had to go through (FUA), and of each other one any of its
//! blocks or none. A write that was under way together with a flush counts as before it where the log has it first; a disk might
//! also lose that one, so this is a little kinder than the worst disk.

use super::dice::Dice;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SECTOR: u64 = 512;
const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
/// What a disk writes whole or not at all, at least.
const BLOCK: u64 = 4096;

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Where in the log it ends: what was logged when the log had this length.
    pub end: u64,
    sector: u64,
    sectors: u64,
    flags: u64,
    data: u64,
}

/// A log, read.
#[derive(Debug)]
pub struct WriteLog {
    file: File,
    /// All requests in order.
    pub entries: Vec<Entry>,
}

impl WriteLog {
    /// Reads the headers. What was half written when qemu was killed is left out.
    pub fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let length = file.metadata().unwrap().len();
        let numbers = |offset: u64| {
            let mut bytes = [0; 32];
            file.read_exact_at(&mut bytes, offset).unwrap();
            [0, 8, 16, 24].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()))
        };
        assert_eq!(numbers(0)[..2], [MAGIC, 1], "{}: no log of this format", path.display());
        let mut entries = Vec::new();
        let mut offset = SECTOR;
        while offset + SECTOR <= length {
            let [sector, sectors, flags, _] = numbers(offset);
            let data = offset + SECTOR;
            let end = data + if flags & DISCARD == 0 { sectors * SECTOR } else { 0 };
            if end > length || [sector, sectors, flags] == [0; 3] {
                break;
            }
            entries.push(Entry { end, sector, sectors, flags, data });
            offset = end;
        }
        Self { file, entries }
    }

    /// Brings the disk that begins there, as it was when the log began, to where a cut after the first `count` requests leaves it.
    pub fn cut(&self, disk: &File, begin: u64, count: usize, dice: &mut Dice) {
        let before = &self.entries[..count];
        let flushed = before.iter().rposition(|entry| entry.flags & FLUSH != 0).map_or(0, |last| last + 1);
        for (number, entry) in before.iter().enumerate().filter(|(_, entry)| entry.flags & DISCARD == 0) {
            let mut data = vec![0; usize::try_from(entry.sectors * SECTOR).unwrap()];
            self.file.read_exact_at(&mut data, entry.data).unwrap();
            let kept = number < flushed || entry.flags & FUA != 0;
            let blocks = data.chunks(usize::try_from(BLOCK).unwrap());
            for (block, at) in blocks.zip((entry.sector * SECTOR..).step_by(usize::try_from(BLOCK).unwrap())) {
                if kept || dice.roll(2) == 0 {
                    disk.write_all_at(block, begin + at).unwrap();
                }
            }
        }
    }
}
