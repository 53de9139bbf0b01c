//! From a container's pipes to its log files, every byte exactly once, whenever this process is killed.
//!
//! The helper keeps four pipe ends open for us: standard output, standard error, and both ends of a *spool pipe*. The rule:
//! **the spool pipe is empty, or the journal says where its bytes belong in the log.** One chunk takes five steps:
//!
//! 1. look: tee(2) copies what is waiting, without taking it; the records are made from the copy
//! 2. journal: where these records will begin, in one write
//! 3. take: splice(2) moves the chunk to the spool pipe, under both pipes' locks: wholly or not at all
//! 4. write: the records, at that place
//! 5. let go: one splice takes the chunk out of the spool pipe. A read would stop where a payload keeps its writes apart, as
//!    it can with its own pipe (O_DIRECT, pipe(7))
//!
//! Killed before 3, nothing has happened. Killed between 3 and 5, the next manager finds the chunk in the spool pipe, cuts
//! the log back to the journal's place and goes on with 4 ([`Pump::adopt`]).

use super::cri::{self, Stream};
use super::files::{Bounds, Files};
use super::journal::{Journal, Place};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};
use std::fmt;
use std::io;
use std::path::Path;
use std::rc::Rc;

/// What a pipe holds (pipe(7)): one chunk at most.
const CHUNK: usize = 64 * 1024;

/// A chunk is not cut further than this to fit into a file.
const LEAST: usize = 4096;

/// The ends that the helper gives for one container.
#[derive(Debug)]
pub struct Pipes {
    /// Read end of its standard output.
    pub stdout: Rc<OwnedFd>,
    /// Read end of its standard error.
    pub stderr: Rc<OwnedFd>,
    /// Read end of the spool pipe.
    pub spool: OwnedFd,
    /// Write end of the spool pipe.
    pub spool_write: OwnedFd,
}

impl Pipes {
    /// The read end of a stream, to wait on.
    pub fn source(&self, stream: Stream) -> &Rc<OwnedFd> {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }
}

/// What one turn has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A chunk was written: its bytes are in [`Pump::chunk`].
    Moved,
    /// Nothing waits.
    Idle,
    /// Nothing waits, and nobody can write any more.
    Ended,
}

/// A step that failed. The chunk stays where it was: nothing is lost, and the payload waits once its pipe is full.
#[derive(Debug)]
pub struct Error {
    step: &'static str,
    reason: io::Error,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.reason)
    }
}

impl std::error::Error for Error {}

fn at<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Error {
    move |reason| Error { step, reason: reason.into() }
}

/// The pipe that copies are looked at through. One serves all pumps, as it is empty between two steps.
#[derive(Debug)]
pub struct ScratchPipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl ScratchPipe {
    /// Makes the pipe.
    pub fn new() -> Result<Rc<Self>, Error> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(at("make a pipe"))?;
        Ok(Rc::new(Self { read, write }))
    }

    /// Takes out exactly these bytes, which are in it.
    fn empty_into(&self, bytes: &mut [u8]) -> Result<(), Errno> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.read, &mut *rest))? {
                0 => return Err(Errno::IO),
                count => filled += count,
            }
        }
        Ok(())
    }
}

/// The pump of one container.
#[derive(Debug)]
pub struct Pump {
    pipes: Pipes,
    files: Files,
    journal: Journal,
    scratch: Rc<ScratchPipe>,
    chunk: Vec<u8>,
    records: Vec<u8>,
}

impl Pump {
    /// Takes over: finishes what an earlier manager left in the spool pipe. Where that fails now, as on a full disk, the next
    /// turn tries again.
    pub fn adopt(
        pipes: Pipes,
        scratch: Rc<ScratchPipe>,
        logs: &Path,
        bounds: Bounds,
        journal: &Path,
    ) -> Result<(Self, Option<Error>), (Pipes, Error)> {
        let opened = Files::open(logs, bounds).map_err(at("open the log"));
        let opened = opened.and_then(|files| Ok((files, Journal::open(journal).map_err(at("open the journal"))?)));
        let (files, journal) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err((pipes, error)),
        };
        let mut pump = Self { pipes, files, journal, scratch, chunk: Vec::new(), records: Vec::new() };
        let unfinished = pump.finish_spooled().err();
        Ok((pump, unfinished))
    }

    /// The ends that the helper gave.
    pub fn pipes(&self) -> &Pipes {
        &self.pipes
    }

    /// Keeps as much as this from now on.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.files.set_bounds(bounds);
    }

    /// The bytes of the last chunk, as the payload wrote them.
    pub fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// Moves one chunk, if one waits.
    pub fn turn(&mut self, stream: Stream) -> Result<Turn, Error> {
        self.finish_spooled()?;
        // 1: look
        match peek(self.pipes.source(stream).as_fd(), &self.scratch, &mut self.chunk)
            .map_err(at("look at the output"))?
        {
            Some(0) => return Ok(Turn::Ended),
            Some(_) => {}
            None => return Ok(Turn::Idle),
        }
        self.format_what_fits(stream);
        self.files.make_room(self.records.len()).map_err(at("rotate the log"))?;
        // 2: journal
        let place = Place { stream, generation: self.files.generation(), length: self.files.length() };
        self.journal.write(place).map_err(at("write the journal"))?;
        // 3: take
        let length = self.chunk.len();
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let taken =
            rustix::pipe::splice(self.pipes.source(stream).as_fd(), None, &self.pipes.spool_write, None, length, flags);
        let taken = match taken {
            // A payload can read its own pipe, and has just done so.
            Err(Errno::AGAIN) => return Ok(Turn::Idle),
            taken => taken.map_err(at("take the output"))?,
        };
        if taken != length {
            // The payload's pipe was made of other pieces than its copy: what was taken is what is written.
            self.finish_spooled()?;
            return Ok(Turn::Moved);
        }
        self.write_and_let_go()?;
        Ok(Turn::Moved)
    }

    /// Makes the records, of a shorter chunk where a whole file is too small for them all.
    fn format_what_fits(&mut self, stream: Stream) {
        let now = cri::now();
        loop {
            self.records.clear();
            cri::format(&self.chunk, stream, now, &mut self.records);
            if self.records.len() as u64 <= self.files.bounds().size || self.chunk.len() <= LEAST {
                return;
            }
            let half = self.chunk.len() / 2;
            let line = self.chunk.iter().take(half).rposition(|byte| *byte == b'\n');
            self.chunk.truncate(line.map_or(half, |end| end + 1));
        }
    }

    /// Steps 4 and 5.
    fn write_and_let_go(&mut self) -> Result<(), Error> {
        self.files.append(&self.records).map_err(at("write the log"))?;
        let length = self.chunk.len();
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let gone = rustix::pipe::splice(&self.pipes.spool, None, &self.scratch.write, None, length, flags);
        let gone = gone.map_err(at("let go of the chunk"))?;
        let bytes = self.chunk.get_mut(..gone).unwrap_or_default();
        self.scratch.empty_into(bytes).map_err(at("let go of the chunk"))?;
        if gone == length { Ok(()) } else { Err(at("let go of the chunk")(io::Error::other("it is not whole"))) }
    }

    /// Goes on with a chunk that lies in the spool pipe: an earlier manager's, or one whose write failed.
    fn finish_spooled(&mut self) -> Result<(), Error> {
        match peek(self.pipes.spool.as_fd(), &self.scratch, &mut self.chunk).map_err(at("look at the held chunk"))? {
            None | Some(0) => return Ok(()),
            Some(_) => {}
        }
        // Without a journal the bytes go to the end: perhaps twice, but not lost.
        let end = Place { stream: Stream::Stdout, generation: self.files.generation(), length: self.files.length() };
        let place = self.journal.read().unwrap_or(end);
        self.files.rewind(place.generation, place.length).map_err(at("cut the log back"))?;
        self.records.clear();
        cri::format(&self.chunk, place.stream, cri::now(), &mut self.records);
        self.write_and_let_go()
    }
}

/// Copies what waits in a pipe, at most [`CHUNK`], without taking it: `None` when nothing waits, 0 when nothing ever will.
fn peek(pipe: BorrowedFd<'_>, scratch: &ScratchPipe, chunk: &mut Vec<u8>) -> Result<Option<usize>, Errno> {
    let length = match rustix::pipe::tee(pipe, &scratch.write, CHUNK, SpliceFlags::NONBLOCK) {
        Ok(length) => length,
        Err(Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    chunk.resize(length, 0);
    scratch.empty_into(chunk)?;
    Ok(Some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_28_writes_that_are_kept_apart_hold_nothing_up() {
        let base = tempfile::tempdir().unwrap();
        let pipes: Vec<_> = (0..3).map(|_| rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap()).collect();
        let [(stdout, payload), (stderr, _), (spool, spool_write)] = <[_; 3]>::try_from(pipes).unwrap();
        let pipes = Pipes { stdout: Rc::new(stdout), stderr: Rc::new(stderr), spool, spool_write };
        let (logs, bounds) = (base.path().join("logs"), Bounds { size: 1 << 20, count: 2 });
        let (mut pump, _) =
            Pump::adopt(pipes, ScratchPipe::new().unwrap(), &logs, bounds, &base.path().join("j")).unwrap();
        rustix::fs::fcntl_setfl(&payload, rustix::fs::OFlags::DIRECT).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            rustix::io::write(&payload, line.as_bytes()).unwrap();
        }
        assert_eq!(pump.turn(Stream::Stdout).unwrap(), Turn::Moved);
        assert_eq!(pump.turn(Stream::Stdout).unwrap(), Turn::Idle);
        let log = std::fs::read_to_string(super::super::files::path(&logs, 1)).unwrap();
        let said: Vec<_> = log.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(said, ["one", "two", "three"]);
    }
}
