//! Files with holes: GNU's old header and the pax versions 0.0, 0.1 and 1.0 (GNU tar manual, "Storing Sparse Files").
//! All four become the same checked list of extents.

use super::header::natural;
use super::pax::{Pax, decimal};

/// The most extents of one file.
pub const MAX_EXTENTS: usize = 65_536;

/// Where the stored bytes of a file lie in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sparse {
    /// Size of the file.
    pub size: u64,
    /// Offset and length, ascending, apart, within `size`; together as long as the stored bytes.
    pub extents: Vec<(u64, u64)>,
}

type Result<T> = std::result::Result<T, &'static str>;

const BAD: &str = "malformed sparse map";

impl Sparse {
    /// Adds extents of a GNU header or its continuation block: pairs of numbers of 12 bytes; the first empty one ends them.
    pub fn push_gnu(&mut self, fields: &[u8]) -> Result<()> {
        let mut pairs = fields.chunks_exact(24).skip_while(|pair| pair.first() != Some(&0));
        let used = fields.chunks_exact(24).take_while(|pair| pair.first() != Some(&0));
        if pairs.any(|pair| pair.iter().any(|b| *b != 0)) {
            return Err(BAD);
        }
        for (offset, length) in used.filter_map(|pair| pair.split_at_checked(12)) {
            self.push(natural(offset)?, natural(length)?)?;
        }
        Ok(())
    }

    fn push(&mut self, offset: u64, length: u64) -> Result<()> {
        if self.extents.len() >= MAX_EXTENTS {
            return Err("sparse map is too long");
        }
        self.extents.push((offset, length));
        Ok(())
    }

    /// Ends the list: `stored` is how many bytes follow in the archive.
    pub fn check(self, stored: u64) -> Result<Self> {
        let mut end = 0_u64;
        let mut sum = 0_u64;
        for (offset, length) in &self.extents {
            let next = offset.checked_add(*length).ok_or(BAD)?;
            if *offset < end || next > self.size {
                return Err("sparse map overlaps or leaves the file");
            }
            (end, sum) = (next, sum + length);
        }
        if sum == stored { Ok(self) } else { Err("sparse map does not fit the stored bytes") }
    }
}

/// Where a pax header's sparse map is.
#[derive(Debug, PartialEq, Eq)]
pub enum PaxSparse {
    /// In the header (0.0, 0.1): complete but for [`Sparse::check`].
    Here(Sparse),
    /// Before the content (1.0), for a file of this size.
    InContent(u64),
}

impl PaxSparse {
    /// Takes the `GNU.sparse.` records, and the name that they give.
    pub fn take(pax: &mut Pax) -> Result<Option<Self>> {
        let records = std::mem::take(&mut pax.sparse);
        if records.is_empty() {
            return Ok(None);
        }
        let mut version = (None, None);
        let mut size = None;
        let mut count = None;
        let mut map = None;
        let mut sparse = Sparse::default();
        let mut open = None;
        for (key, value) in records {
            match key.as_slice() {
                b"major" => once(&mut version.0, decimal(&value)?)?,
                b"minor" => once(&mut version.1, decimal(&value)?)?,
                b"size" | b"realsize" => once(&mut size, decimal(&value)?)?,
                b"numblocks" => once(&mut count, decimal(&value)?)?,
                b"name" if value.is_empty() || value.contains(&0) => return Err(BAD),
                b"name" => pax.path = Some(value),
                b"map" => once(&mut map, value)?,
                b"offset" => once(&mut open, decimal(&value)?)?,
                b"numbytes" => sparse.push(open.take().ok_or(BAD)?, decimal(&value)?)?,
                _ => return Err(BAD),
            }
        }
        sparse.size = size.ok_or(BAD)?;
        match (version, map) {
            ((Some(1), Some(0)), None) if sparse.extents.is_empty() && count.is_none() && open.is_none() => {
                return Ok(Some(Self::InContent(sparse.size)));
            }
            ((None, None), Some(map)) if sparse.extents.is_empty() => {
                let numbers: Vec<&[u8]> = if map.is_empty() { vec![] } else { map.split(|b| *b == b',').collect() };
                for pair in numbers.chunks(2) {
                    let [offset, length] = pair else { return Err(BAD) };
                    sparse.push(decimal(offset)?, decimal(length)?)?;
                }
            }
            ((None, None), None) => {}
            _ => return Err(BAD),
        }
        let listed = u64::try_from(sparse.extents.len()).ok();
        if count != listed || open.is_some() { Err(BAD) } else { Ok(Some(Self::Here(sparse))) }
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    if slot.replace(value).is_some() { Err(BAD) } else { Ok(()) }
}

/// Reads the decimal lines of version 1.0 one at a time: first how many extents, then offset and length of each.
#[derive(Default)]
pub struct MapLines {
    line: Vec<u8>,
    count: Option<u64>,
    open: Option<u64>,
}

impl MapLines {
    /// Takes one block of the content; true when the map is complete. The rest of its last block is padding.
    pub fn block(&mut self, block: &[u8], sparse: &mut Sparse) -> Result<bool> {
        for byte in block {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() > 20 {
                    return Err(BAD);
                }
                continue;
            }
            let number = decimal(&self.line)?;
            self.line.clear();
            match (self.count, self.open.take()) {
                (None, _) => self.count = Some(number),
                (Some(_), None) => self.open = Some(number),
                (Some(_), Some(offset)) => sparse.push(offset, number)?,
            }
            if self.open.is_none() && self.count == u64::try_from(sparse.extents.len()).ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
