//! Blocks to entries: extended headers and long names are gathered, then applied to the header that they precede.

use super::header::{BLOCK, Format, Header, sparse_block};
use super::pax::{self, Pax};
use super::sparse::{MapLines, PaxSparse, Sparse};
use super::{Entry, Kind, MAX_EXTENDED, Source, Time};
use crate::fail::refused;
use casemate_wire::Failure;

/// Reads one archive.
pub struct Reader<S> {
    source: S,
    /// Bytes taken from the source.
    offset: u64,
    /// Of the current entry's content, not yet used.
    left: u64,
    /// Where the current header began, for messages.
    header_at: u64,
}

/// What precedes a header and overrides it. Each may stand once.
#[derive(Default)]
struct Overrides {
    pax: Option<Pax>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    /// A global header changes nothing, but it too must be followed by an entry.
    global: bool,
}

impl<S: Source> Reader<S> {
    /// Reads from the source's present position, which is the archive's start.
    pub fn new(source: S) -> Self {
        Self { source, offset: 0, left: 0, header_at: 0 }
    }

    /// Gives the source back, after the end.
    pub fn into_source(self) -> S {
        self.source
    }

    /// The next entry; `None` after the end of the archive, behind which only zeros may stand. Content not used is passed over.
    pub fn entry(&mut self) -> Result<Option<Entry>, Failure> {
        self.finish_content()?;
        let mut over = Overrides::default();
        loop {
            self.header_at = self.offset;
            let Some(block) = self.block()? else {
                return if over.is_empty() { Ok(None) } else { Err(self.bad("extended header without an entry")) };
            };
            if block.iter().all(|b| *b == 0) {
                return if over.is_empty() { self.end() } else { Err(self.bad("extended header without an entry")) };
            }
            let header = self.at(Header::new(&block))?;
            let twice = match header.kind() {
                b'x' => {
                    let bytes = self.extended(&header)?;
                    let pax = self.at(Pax::parse(&bytes))?;
                    over.pax.replace(pax).is_some()
                }
                b'L' => {
                    let name = self.long_name(&header)?;
                    over.path.replace(name).is_some()
                }
                b'K' => {
                    let name = self.long_name(&header)?;
                    over.link.replace(name).is_some()
                }
                b'g' => {
                    let bytes = self.extended(&header)?;
                    self.at(pax::check_global(&bytes))?;
                    over.pax.is_some() || std::mem::replace(&mut over.global, true)
                }
                _ => return self.assemble(&header, over).map(Some),
            };
            if twice || (over.pax.is_some() && (over.path.is_some() || over.link.is_some())) {
                return Err(self.bad("two extended headers override the same entry"));
            }
        }
    }

    /// Bytes of the current entry's content; empty when all are used.
    pub fn content(&mut self) -> Result<&[u8], Failure> {
        let at = self.header_at;
        if self.left == 0 {
            return Ok(&[]);
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let bytes = self.source.fill()?;
        if bytes.is_empty() {
            Err(malformed(at, "archive ends within an entry"))
        } else {
            Ok(bytes.get(..left).unwrap_or(bytes))
        }
    }

    /// Uses up bytes that [`Self::content`] gave.
    pub fn used(&mut self, count: usize) {
        self.source.consume(count);
        self.offset += count as u64;
        self.left = self.left.saturating_sub(count as u64);
    }

    fn assemble(&mut self, header: &Header<'_>, over: Overrides) -> Result<Entry, Failure> {
        let mut pax = over.pax.unwrap_or_default();
        let mut holes = self.at(PaxSparse::take(&mut pax))?;
        let header_size = self.at(header.size())?;
        let size = pax.size.unwrap_or(header_size);
        let header_path = self.at(header.path())?;
        let path = pax.path.or(over.path).unwrap_or(header_path);
        let header_link = self.at(header.link())?;
        let link = pax.link.or(over.link).unwrap_or(header_link);
        let header_time = Time { seconds: self.at(header.mtime())?, nanos: 0 };
        let mut entry = Entry {
            kind: self.kind(header, &path, link, size)?,
            path,
            mode: self.at(header.mode())?,
            uid: self.at(pax.uid.map_or_else(|| header.uid(), Ok))?,
            gid: self.at(pax.gid.map_or_else(|| header.gid(), Ok))?,
            mtime: pax.mtime.unwrap_or(header_time),
            size,
            offset: 0,
            xattrs: pax.xattrs,
        };
        if entry.path.is_empty() {
            return Err(self.bad("entry without a name"));
        }
        self.left = size;
        match (&mut entry.kind, holes.take()) {
            (_, None) => {}
            (Kind::File, Some(PaxSparse::Here(sparse))) => {
                entry.kind = Kind::SparseFile(self.at(sparse.check(size))?);
            }
            (Kind::File, Some(PaxSparse::InContent(real))) => {
                let sparse = self.map_in_content(Sparse { size: real, extents: Vec::new() })?;
                entry.size = self.left;
                entry.kind = Kind::SparseFile(self.at(sparse.check(self.left))?);
            }
            _ => return Err(self.bad("sparse map of something that is not a file")),
        }
        entry.offset = self.offset;
        Ok(entry)
    }

    fn kind(&mut self, header: &Header<'_>, path: &[u8], link: Vec<u8>, size: u64) -> Result<Kind, Failure> {
        let kind = match header.kind() {
            0 if path.ends_with(b"/") => Kind::Directory,
            b'0' | b'7' | 0 if path.ends_with(b"/") => {
                return Err(self.bad("file whose name ends in a slash"));
            }
            b'0' | b'7' | 0 => return Ok(Kind::File),
            b'S' if header.format == Format::Gnu => {
                let sparse = self.gnu_sparse(header)?;
                return Ok(Kind::SparseFile(self.at(sparse.check(size))?));
            }
            b'1' => Kind::HardLink(link),
            b'2' => Kind::Symlink(link),
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return Err(self.bad("unknown entry type")),
        };
        if size != 0 {
            return Err(self.bad("content behind an entry that has none"));
        }
        match &kind {
            Kind::HardLink(link) | Kind::Symlink(link) if link.is_empty() => Err(self.bad("link to nowhere")),
            _ => Ok(kind),
        }
    }

    fn gnu_sparse(&mut self, header: &Header<'_>) -> Result<Sparse, Failure> {
        let (fields, mut more, size) = self.at(header.sparse())?;
        let mut sparse = Sparse { size, extents: Vec::new() };
        self.at(sparse.push_gnu(fields))?;
        while more {
            let block = self.block()?.ok_or_else(|| self.bad("archive ends within an entry"))?;
            let (fields, again) = self.at(sparse_block(&block))?;
            self.at(sparse.push_gnu(fields))?;
            more = again;
        }
        Ok(sparse)
    }

    fn map_in_content(&mut self, mut sparse: Sparse) -> Result<Sparse, Failure> {
        let mut lines = MapLines::default();
        loop {
            let after = self.left.checked_sub(BLOCK as u64);
            let block = self.block()?.zip(after).ok_or_else(|| self.bad("sparse map is longer than the entry"))?;
            self.left = block.1;
            if self.at(lines.block(&block.0, &mut sparse))? {
                return Ok(sparse);
            }
        }
    }

    /// The content of an extended header.
    fn extended(&mut self, header: &Header<'_>) -> Result<Vec<u8>, Failure> {
        let size = self.at(header.size())?;
        if size > MAX_EXTENDED {
            return Err(self.bad("extended header or name is too long"));
        }
        self.left = size;
        let mut bytes = Vec::new();
        while self.left > 0 {
            let piece = self.content()?;
            bytes.extend_from_slice(piece);
            let count = piece.len();
            self.used(count);
        }
        self.finish_content()?;
        Ok(bytes)
    }

    /// GNU long names end in one NUL, which belongs to the size.
    fn long_name(&mut self, header: &Header<'_>) -> Result<Vec<u8>, Failure> {
        let mut name = self.extended(header)?;
        if header.format != Format::Gnu || name.pop() != Some(0) || name.is_empty() || name.contains(&0) {
            return Err(self.bad("malformed long name"));
        }
        Ok(name)
    }

    /// Passes over what is left of the content and its padding.
    fn finish_content(&mut self) -> Result<(), Failure> {
        let content_end = self.offset.checked_add(self.left);
        let end = content_end.and_then(|end| end.checked_next_multiple_of(BLOCK as u64));
        let end = end.ok_or_else(|| self.bad("archive is too large"))?;
        if !self.source.skip(end - self.offset)? {
            return Err(self.bad("archive ends within an entry"));
        }
        self.offset = end;
        self.left = 0;
        Ok(())
    }

    /// The next block; `None` at the end of the source.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Failure> {
        let mut block = [0; BLOCK];
        let mut space = block.as_mut_slice();
        while !space.is_empty() {
            let bytes = self.source.fill()?;
            let count = bytes.len().min(space.len());
            if count == 0 {
                let whole = space.len() == BLOCK;
                return if whole { Ok(None) } else { Err(self.bad("archive ends within a block")) };
            }
            let (head, tail) = space.split_at_mut(count);
            head.copy_from_slice(bytes.get(..count).unwrap_or_default());
            space = tail;
            self.source.consume(count);
        }
        self.offset += BLOCK as u64;
        Ok(Some(block))
    }

    /// After the first block of zeros: nothing else may follow, or another reader could see another archive.
    fn end(&mut self) -> Result<Option<Entry>, Failure> {
        loop {
            let bytes = self.source.fill()?;
            let count = bytes.len();
            if bytes.iter().any(|b| *b != 0) {
                return Err(self.bad("data behind the end of the archive"));
            }
            if count == 0 {
                return Ok(None);
            }
            self.source.consume(count);
            self.offset += count as u64;
        }
    }

    fn at<T>(&self, result: Result<T, &'static str>) -> Result<T, Failure> {
        result.map_err(|what| self.bad(what))
    }

    fn bad(&self, what: &str) -> Failure {
        malformed(self.header_at, what)
    }
}

fn malformed(at: u64, what: &str) -> Failure {
    refused("read archive", format!("header at byte {at}: {what}"))
}

impl Overrides {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.path.is_none() && self.link.is_none() && !self.global
    }
}
