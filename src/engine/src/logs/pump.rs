//! The pump: moves a container's output from its pipes to its log files, every byte exactly once, even if this process is killed.
//!
//! The helper keeps four pipe ends open for the manager: standard output, standard error, and both ends of a *spool pipe*. The rule:
//! **the spool pipe is empty, or the journal has the position of its bytes in the log.** One chunk takes five steps:
//!
//! 1. copy: tee(2) copies the available bytes without consuming them; the records are made from the copy
//! 2. journal: the position of these records, in one write
//! 3. spool: splice(2) moves the chunk to the spool pipe, under both pipes' locks: completely or not at all
//! 4. write: the records, at that position
//! 5. discard: one splice(2) empties the spool pipe. A read(2) would stop at the packet boundaries that a payload can make on its own
//!    pipe (O_DIRECT, pipe(7))
//!
//! After a kill before 3 nothing has happened. After a kill between 3 and 5 the next manager finds the chunk in the spool pipe, truncates
//! the log to the journal's position and continues with 4 ([`Pump::adopt`]).

use super::cri::{self, Stream};
use super::files::{Bounds, Files};
use super::journal::{Journal, Position};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};
use std::fmt;
use std::io;
use std::path::Path;
use std::rc::Rc;

/// The capacity of a pipe (pipe(7)), and so of a chunk.
const CHUNK: usize = 64 * 1024;

/// A chunk is not shortened below this to fit into a file.
const MIN_CHUNK: usize = 4096;

/// The pipe ends of one container, from the helper.
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
    /// The read end of a stream, to register.
    pub fn source(&self, stream: Stream) -> &Rc<OwnedFd> {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }
}

/// The result of [`Pump::move_chunk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PumpResult {
    /// A chunk was written: see [`Pump::chunk`].
    Moved,
    /// No bytes are available.
    Idle,
    /// No bytes are available, and no process has the write end open.
    Ended,
}

/// A failed step. The chunk stays in its pipe: nothing is lost, and the payload blocks once its pipe is full.
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

/// The pipe through which chunks are copied and discarded. All pumps share it: it is empty between two steps.
#[derive(Debug)]
pub struct ScratchPipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl ScratchPipe {
    /// Creates the pipe.
    pub fn new() -> Result<Rc<Self>, Error> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(at("make a pipe"))?;
        Ok(Rc::new(Self { read, write }))
    }

    /// Reads exactly these bytes, which are in the pipe.
    fn read_exactly(&self, bytes: &mut [u8]) -> Result<(), Errno> {
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
    /// Takes over the pipes, and writes the chunk that an earlier manager left in the spool pipe. If that fails now, as on a full disk,
    /// [`Self::move_chunk`] tries again.
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

    /// The pipe ends.
    pub fn pipes(&self) -> &Pipes {
        &self.pipes
    }

    /// Changes the bounds of the log files.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.files.set_bounds(bounds);
    }

    /// The last chunk, as the payload wrote it.
    pub fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// Moves one chunk to the log, if bytes are available.
    pub fn move_chunk(&mut self, stream: Stream) -> Result<PumpResult, Error> {
        self.finish_spooled()?;
        // 1: copy
        match copy_available(self.pipes.source(stream).as_fd(), &self.scratch, &mut self.chunk)
            .map_err(at("copy the output"))?
        {
            Some(0) => return Ok(PumpResult::Ended),
            Some(_) => {}
            None => return Ok(PumpResult::Idle),
        }
        self.format_what_fits(stream);
        self.files.make_room(self.records.len()).map_err(at("rotate the log"))?;
        // 2: journal
        let position = Position { stream, generation: self.files.generation(), length: self.files.length() };
        self.journal.write(position).map_err(at("write the journal"))?;
        // 3: spool
        let length = self.chunk.len();
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let taken =
            rustix::pipe::splice(self.pipes.source(stream).as_fd(), None, &self.pipes.spool_write, None, length, flags);
        let taken = match taken {
            // The payload has read its own pipe in between.
            Err(Errno::AGAIN) => return Ok(PumpResult::Idle),
            taken => taken.map_err(at("spool the output"))?,
        };
        if taken != length {
            // The pipe's buffers differ from the copy's: write what was taken.
            self.finish_spooled()?;
            return Ok(PumpResult::Moved);
        }
        self.write_and_discard()?;
        Ok(PumpResult::Moved)
    }

    /// Formats the records, of a shorter chunk if one file cannot hold them all.
    fn format_what_fits(&mut self, stream: Stream) {
        let now = cri::now();
        loop {
            self.records.clear();
            cri::format(&self.chunk, stream, now, &mut self.records);
            if self.records.len() as u64 <= self.files.bounds().size || self.chunk.len() <= MIN_CHUNK {
                return;
            }
            let half = self.chunk.len() / 2;
            let line = self.chunk.iter().take(half).rposition(|byte| *byte == b'\n');
            self.chunk.truncate(line.map_or(half, |end| end + 1));
        }
    }

    /// Steps 4 and 5.
    fn write_and_discard(&mut self) -> Result<(), Error> {
        self.files.append(&self.records).map_err(at("write the log"))?;
        let length = self.chunk.len();
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let gone = rustix::pipe::splice(&self.pipes.spool, None, &self.scratch.write, None, length, flags);
        let gone = gone.map_err(at("discard the chunk"))?;
        let bytes = self.chunk.get_mut(..gone).unwrap_or_default();
        self.scratch.read_exactly(bytes).map_err(at("discard the chunk"))?;
        if gone == length { Ok(()) } else { Err(at("discard the chunk")(io::Error::other("incomplete"))) }
    }

    /// Writes the chunk in the spool pipe: an earlier manager's, or one whose write failed.
    fn finish_spooled(&mut self) -> Result<(), Error> {
        match copy_available(self.pipes.spool.as_fd(), &self.scratch, &mut self.chunk)
            .map_err(at("copy the spooled chunk"))?
        {
            None | Some(0) => return Ok(()),
            Some(_) => {}
        }
        // Without a valid journal they go to the end of the log: possibly twice, but not lost.
        let end = Position { stream: Stream::Stdout, generation: self.files.generation(), length: self.files.length() };
        let position = self.journal.read().unwrap_or(end);
        self.files.rewind(position.generation, position.length).map_err(at("truncate the log"))?;
        self.records.clear();
        cri::format(&self.chunk, position.stream, cri::now(), &mut self.records);
        self.write_and_discard()
    }
}

/// Copies the available bytes of a pipe, at most [`CHUNK`], without consuming them; `None`: none now, 0: end of file.
fn copy_available(pipe: BorrowedFd<'_>, scratch: &ScratchPipe, chunk: &mut Vec<u8>) -> Result<Option<usize>, Errno> {
    let length = match rustix::pipe::tee(pipe, &scratch.write, CHUNK, SpliceFlags::NONBLOCK) {
        Ok(length) => length,
        Err(Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    chunk.resize(length, 0);
    scratch.read_exactly(chunk)?;
    Ok(Some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_28_packet_mode_writes_do_not_block_the_pump() {
        let base = tempfile::tempdir().unwrap();
        let pipes: Vec<_> = (0..3).map(|_| rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap()).collect();
        let [(stdout, payload), (stderr, _), (spool, spool_write)] = <[_; 3]>::try_from(pipes).unwrap();
        let pipes = Pipes { stdout: Rc::new(stdout), stderr: Rc::new(stderr), spool, spool_write };
        let logs = base.path().join("logs");
        let bounds = Bounds { size: 1 << 20, count: 2 };
        let (mut pump, _) =
            Pump::adopt(pipes, ScratchPipe::new().unwrap(), &logs, bounds, &base.path().join("j")).unwrap();
        rustix::fs::fcntl_setfl(&payload, rustix::fs::OFlags::DIRECT).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            rustix::io::write(&payload, line.as_bytes()).unwrap();
        }
        assert_eq!(pump.move_chunk(Stream::Stdout).unwrap(), PumpResult::Moved);
        assert_eq!(pump.move_chunk(Stream::Stdout).unwrap(), PumpResult::Idle);
        let log = std::fs::read_to_string(super::super::files::path(&logs, 1)).unwrap();
        let texts: Vec<_> = log.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(texts, ["one", "two", "three"]);
    }
}
