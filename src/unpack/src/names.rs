//! The names in a directory, packed: a hostile layer has a million in one, and the same on the next level.

use crate::budget::Budget;
use crate::fail::system;
use casemate_wire::Failure;
use rustix::fs::Dir;
use std::os::fd::AsFd;

/// Without `.` and `..`.
pub struct Names {
    /// The length in two bytes before each.
    packed: Vec<u8>,
    starts: Vec<u32>,
    budget: Budget,
}

impl Names {
    /// Reads a directory; `path` is what errors call it.
    pub fn read(directory: impl AsFd, path: &[u8], budget: &Budget) -> Result<Self, Failure> {
        let failed = |errno| system("list directory", path, errno);
        let mut names = Self { packed: Vec::new(), starts: Vec::new(), budget: budget.clone() };
        for entry in Dir::read_from(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.add(name)?;
            }
        }
        Ok(names)
    }

    fn add(&mut self, name: &[u8]) -> Result<(), Failure> {
        self.budget.take(taken(name.len()))?;
        // The budget is far below what 32 bits count.
        self.starts.push(u32::try_from(self.packed.len()).unwrap_or(u32::MAX));
        // A whole entry of getdents64(2) is no longer than 16 bits count.
        self.packed.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_ne_bytes());
        self.packed.extend_from_slice(name);
        Ok(())
    }

    /// In the order of [`printable`].
    pub fn sorted(mut self) -> Self {
        let Self { packed, starts, .. } = &mut self;
        starts.sort_unstable_by(|a, b| shown(at(packed, *a)).cmp(shown(at(packed, *b))));
        self
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.starts.iter().map(|start| at(&self.packed, *start))
    }
}

fn at(packed: &[u8], start: u32) -> &[u8] {
    let rest = packed.get(start as usize..).unwrap_or_default();
    let Some((length, rest)) = rest.split_first_chunk() else { return &[] };
    rest.get(..usize::from(u16::from_ne_bytes(*length))).unwrap_or_default()
}

impl Drop for Names {
    fn drop(&mut self) {
        self.budget.give(self.packed.len() + self.starts.len() * size_of::<u32>());
    }
}

fn taken(length: usize) -> usize {
    size_of::<u16>() + length + size_of::<u32>()
}

/// Printable ASCII but for the blank and the backslash as it is, every other byte as `\xHH`: one word, whatever the name.
pub fn printable(name: &[u8]) -> String {
    shown(name).collect()
}

fn shown(name: &[u8]) -> impl Iterator<Item = char> {
    name.iter().flat_map(|&byte| {
        let plain = byte.is_ascii_graphic() && byte != b'\\';
        let digit = |half| char::from_digit(u32::from(half), 16).unwrap_or_default();
        let text = if plain { [char::from(byte); 4] } else { ['\\', 'x', digit(byte >> 4), digit(byte & 15)] };
        text.into_iter().take(if plain { 1 } else { 4 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};
    use std::os::unix::ffi::OsStrExt;

    fn read(directory: &std::path::Path, budget: &Budget) -> Result<Names, Failure> {
        let fd = rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        Names::read(fd, b"/there", budget)
    }

    #[test]
    fn names_come_in_the_order_in_which_they_are_shown() {
        let directory = tempfile::tempdir().unwrap();
        let names: [&[u8]; 6] = [b"b", b"a b", b"a\xff", b"a", b"\\", b"a!"];
        for name in names {
            std::fs::write(directory.path().join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
        }
        let found = read(directory.path(), &Budget::new()).unwrap().sorted();
        let shown: Vec<String> = found.iter().map(printable).collect();
        assert_eq!(shown, ["\\x5c", "a", "a!", "a\\x20b", "a\\xff", "b"]);
        assert!(shown.is_sorted());
    }

    #[test]
    fn budget_is_returned_and_limits() {
        let directory = tempfile::tempdir().unwrap();
        for n in 0..200 {
            std::fs::write(directory.path().join(format!("{n:0>250}")), "").unwrap();
        }
        let budget = Budget::new();
        // 200 names of 250 bytes take 50 KiB: more than one fits, a thousand at a time do not.
        for _ in 0..1000 {
            read(directory.path(), &budget).unwrap();
        }
        let held: Vec<_> = (0..1000).map_while(|_| read(directory.path(), &budget).ok()).collect();
        assert!((300..400).contains(&held.len()), "{}", held.len());
        let refused = read(directory.path(), &budget).map(drop).unwrap_err();
        assert_eq!(refused.step, "limit memory");
        drop(held);
        read(directory.path(), &budget).unwrap();
    }
}
