//! `casemate-unpack layer`: the story of one layer. Every byte is proven while it is read, so what is written before the proof
//! is thrown away by the one who started this when the proof fails.

use crate::fail::{refused, system};
use crate::tar::Reader;
use crate::tree::Tree;
use crate::{confine, decode};
use casemate_wire::{Digest, Failure, FailureKind, UnpackOutcome, UnpackRequest};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::os::fd::OwnedFd;

/// Takes the request from the argument, the blob from descriptor 0, the place from `/`.
pub fn run(argument: &str) -> UnpackOutcome {
    let request =
        UnpackRequest::from_argument(argument).map_err(|error| refused("read the request", error.to_string()))?;
    confine::for_layer(&request.limits)?;
    let blob =
        rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).map_err(|errno| system("open blob", b"stdin", errno))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty()).map_err(|errno| system("open root", b"/", errno))?;
    unpack(File::from(blob), root, &request)
}

fn unpack(blob: File, root: OwnedFd, request: &UnpackRequest) -> UnpackOutcome {
    let (chunks, decoder) = decode::start(blob, request.size, request.limits)?;
    let mut reader = Reader::new(chunks);
    let mut tree = Tree::new(root, request.ids, request.limits);
    let filled = tree.fill(&mut reader);
    // Lets go of the chunks: the decoder then only hashes the rest.
    let tar = reader.into_source().prove();
    let blob = match decoder.join() {
        Ok(proof) => proof.map_err(|error| system("read blob", b"blob", decode::errno(&error)))?,
        Err(_) => return Err(refused("decompress", "the decoder gave up")),
    };
    // First, because damage explains whatever else went wrong.
    check_digest("check blob", (blob.digest, blob.size), (request.blob, request.size))
        .map_err(|failure| Failure { kind: FailureKind::BlobDiffers, ..failure })?;
    filled?;
    check_digest("check layer", (tar.digest, tar.size), (request.diff_id, tar.size))?;
    if request.sync {
        tree.sync()?;
    }
    Ok(tree.into_report(tar.size))
}

fn check_digest(step: &str, found: (Digest, u64), pinned: (Digest, u64)) -> Result<(), Failure> {
    if found.1 != pinned.1 {
        let size = if found.1 > pinned.1 { "more".to_owned() } else { found.1.to_string() };
        return Err(refused(step, format!("{} bytes are pinned, there are {size}", pinned.1)));
    }
    if found.0 != pinned.0 {
        let what = format!("{} is pinned, the bytes are {}", pinned.0, found.0);
        return Err(refused(step, what));
    }
    Ok(())
}
