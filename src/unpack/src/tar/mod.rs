//! A strict tar reader: bytes from a [`Source`] become entries and their content; no file is touched. What other readers disagree
//! on, or only some understand, is refused (SECURITY.md row 7), so every archive has one reading. Names and extended headers are
//! bounded to [`MAX_EXTENDED`] bytes, and no memory is allocated for a size that a header claims.

mod header;
mod pax;
mod reader;
mod sparse;

pub use header::BLOCK;
pub use reader::Reader;
pub use sparse::Sparse;

use casemate_wire::Failure;

/// The largest extended header or long name, in bytes.
pub const MAX_EXTENDED: u64 = 1024 * 1024;

/// Bytes, one after the other.
pub trait Source {
    /// The bytes at hand that are not consumed yet; none only at the end.
    fn fill(&mut self) -> Result<&[u8], Failure>;

    /// Passes over bytes that [`Self::fill`] gave.
    fn consume(&mut self, count: usize);

    /// Passes over bytes unseen; false when there are fewer.
    fn skip(&mut self, mut count: u64) -> Result<bool, Failure> {
        while count > 0 {
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(self.fill()?.len());
            if step == 0 {
                return Ok(false);
            }
            self.consume(step);
            count -= step as u64;
        }
        Ok(true)
    }
}

impl Source for &[u8] {
    fn fill(&mut self) -> Result<&[u8], Failure> {
        Ok(self)
    }

    fn consume(&mut self, count: usize) {
        *self = self.get(count..).unwrap_or_default();
    }
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Since 1970.
    pub seconds: i64,
    /// 0..1,000,000,000, towards the future.
    pub nanos: i64,
}

/// One entry, every override applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As it stands there, without a NUL; may be absolute or hold `..`.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Modification time.
    pub mtime: Time,
    /// Stored bytes that follow; 0 for everything but files.
    pub size: u64,
    /// Where they begin in the archive.
    pub offset: u64,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, its bytes one after the other.
    File,
    /// A regular file with holes.
    SparseFile(Sparse),
    /// A directory.
    Directory,
    /// A symbolic link to any text.
    Symlink(Vec<u8>),
    /// Another name of an earlier entry.
    HardLink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}
