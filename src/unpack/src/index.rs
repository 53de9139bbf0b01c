//! `casemate-unpack index`: where the members of an uncompressed image archive lie (`docker save`, OCI archive). Links of old
//! `docker save` archives, which name another image's `layer.tar`, are resolved here: the importer sees files alone.

use crate::confine;
use crate::fail::{printable, refused, system};
use crate::path::{LayerPath, follow, split};
use crate::tar::{Kind, Reader, Source};
use casemate_index_wire::{IndexOutcome, MAX_INDEX, Member};
use casemate_wire::{Failure, LayerLimits};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

/// Bounds of an archive's member names; its sizes are the archive's own.
const LIMITS: LayerLimits = LayerLimits { bytes: u64::MAX, entries: 100_000, path: 4096, depth: 64, ratio: 1 };
/// Links in a row.
const MAX_HOPS: u32 = 8;
/// How a file begins that was compressed as a whole, which `docker save | gzip` is: gzip, zstd, xz.
const COMPRESSED: [&[u8]; 3] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"];
/// Bytes of one read: an archive of layers is headers far apart.
const BLOCK: usize = 16 * 1024;

/// Reads descriptor 0, wherever its offset stands.
pub fn run() -> IndexOutcome {
    confine::for_index()?;
    let failed = |errno| system("open archive", b"stdin", errno);
    let file = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).map_err(failed)?;
    let stat = rustix::fs::fstat(&file).map_err(failed)?;
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    index(Archive { file, size, at: 0, block: Vec::new(), used: 0 })
}

enum Node {
    File { offset: u64, size: u64 },
    Link(Vec<u8>),
}

/// All regular members of a tar archive.
pub fn index(mut archive: impl Source) -> IndexOutcome {
    let begin = archive.fill()?;
    if COMPRESSED.iter().any(|magic| begin.starts_with(magic)) {
        return Err(refused("read archive", "it is compressed; gunzip, unzstd or unxz gives the archive itself"));
    }
    let mut reader = Reader::new(archive);
    let mut nodes = BTreeMap::new();
    let mut entries = 0_u64;
    let mut bytes = 0_usize;
    while let Some(entry) = reader.entry()? {
        let bad = |what: &str| refused("read archive", format!("{}: {what}", printable(&entry.path)));
        let path = LayerPath::new(&entry.path, &LIMITS).map_err(bad)?;
        let path = path.bytes();
        let node = match entry.kind {
            Kind::File => Node::File { offset: entry.offset, size: entry.size },
            Kind::Symlink(target) => Node::Link(follow(split(path).0, &target)),
            Kind::HardLink(target) => Node::Link(follow(b"", &target)),
            Kind::SparseFile(_) => return Err(bad("a member with holes")),
            Kind::Directory | Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => continue,
        };
        entries += 1;
        bytes += path.len();
        if entries > LIMITS.entries || bytes > MAX_INDEX {
            return Err(refused(
                "read archive",
                format!("more than {} members or {MAX_INDEX} bytes of names", LIMITS.entries),
            ));
        }
        nodes.insert(path.to_vec(), node);
    }
    let members = nodes.iter().filter_map(|(path, node)| Some((path, resolve(&nodes, node)?)));
    members.map(|(path, (offset, size))| member(path, offset, size)).collect()
}

/// The file that a node leads to, if it leads to one.
fn resolve<'a>(nodes: &'a BTreeMap<Vec<u8>, Node>, mut node: &'a Node) -> Option<(u64, u64)> {
    for _ in 0..MAX_HOPS {
        match node {
            Node::File { offset, size } => return Some((*offset, *size)),
            Node::Link(target) => node = nodes.get(target)?,
        }
    }
    None
}

fn member(path: &[u8], offset: u64, size: u64) -> Result<Member, Failure> {
    let path =
        str::from_utf8(path).map_err(|_| refused("read archive", format!("{}: name is not UTF-8", printable(path))))?;
    Ok(Member { path: path.to_owned(), offset, size })
}

/// A regular file, read around what is skipped.
struct Archive {
    file: OwnedFd,
    size: u64,
    /// Where the block ends.
    at: u64,
    block: Vec<u8>,
    used: usize,
}

impl Source for Archive {
    fn fill(&mut self) -> Result<&[u8], Failure> {
        if self.used >= self.block.len() {
            self.block.resize(BLOCK, 0);
            let count = rustix::io::pread(&self.file, self.block.as_mut_slice(), self.at)
                .map_err(|errno| system("read archive", b"archive", errno))?;
            self.block.truncate(count);
            self.used = 0;
            self.at += count as u64;
        }
        Ok(self.block.get(self.used..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.used += count;
    }

    fn skip(&mut self, count: u64) -> Result<bool, Failure> {
        let unread = self.block.len().saturating_sub(self.used) as u64;
        match self.at.checked_add(count).map(|end| end - unread.min(end)) {
            Some(end) if count > unread && end <= self.size => {
                self.at = end;
                self.block.clear();
                self.used = 0;
                Ok(true)
            }
            _ if count <= unread => {
                self.used += usize::try_from(count).unwrap_or_default();
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
