//! A compressed blob to the bytes of its tar, on a thread of its own; both digests are taken on the way. Enters: the blob's
//! descriptor. Leaves: [`Chunks`] for the tar reader, and a [`Proof`] for the one who decides. The blob's digest is known even
//! after a failure, so damaged bytes are called damaged and not a bad archive.

use crate::fail::{refused, system, too_long};
use crate::tar::Source;
use casemate_wire::{Digest, Failure, LayerLimits};
use flate2::bufread::MultiGzDecoder;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use zstd::zstd_safe::get_error_name;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;

/// Bytes of one read and of one chunk: large against the cost of a system call, small against the second-level cache.
const CHUNK: usize = 256 * 1024;
/// Chunks under way between the two threads.
const DEPTH: usize = 8;
/// The largest zstd window, 8 MiB: what every decoder shall take (RFC 8878, section 3.1.1.1.2), and encoders of images keep to.
const ZSTD_WINDOW_LOG: u32 = 23;
/// The ratio counts from here on; small files of zeros are not bombs.
const RATIO_FREE: u64 = 16 * 1024 * 1024;

/// Compressed bytes, hashed and counted as they pass.
struct Blob<R> {
    file: R,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    hash: Sha256,
    read: u64,
}

/// What the blob turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Its digest.
    pub digest: Digest,
    /// Its size; one byte more than expected stands for any number more.
    pub size: u64,
}

impl<R: Read> Blob<R> {
    /// Reads at most one byte more than `size`.
    fn new(file: R, size: u64) -> Blob<io::Take<R>> {
        let file = file.take(size.saturating_add(1));
        Blob { file, buffer: vec![0; CHUNK], at: 0, end: 0, hash: Sha256::new(), read: 0 }
    }

    /// Hashes what is left.
    fn prove(mut self) -> io::Result<Proof> {
        loop {
            let count = self.fill_buf()?.len();
            if count == 0 {
                return Ok(Proof { digest: Digest::from_bytes(self.hash.finalize().into()), size: self.read });
            }
            self.consume(count);
        }
    }
}

impl<R: Read> Read for Blob<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Blob<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.end {
            self.at = 0;
            self.end = self.file.read(&mut self.buffer)?;
            let fresh = self.buffer.get(..self.end).unwrap_or_default();
            self.hash.update(fresh);
            self.read += fresh.len() as u64;
        }
        Ok(self.buffer.get(self.at..self.end).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at = self.end.min(self.at + count);
    }
}

/// What zstd returns where a frame needs a larger window: the negative number of the error.
const WINDOW_TOO_LARGE: usize = (ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge as usize).wrapping_neg();

/// The three encodings of a layer, distinguished by their first bytes: media types are claims.
pub enum Stream<R: BufRead> {
    /// Members one after the other (RFC 1952).
    Gzip(Box<MultiGzDecoder<R>>),
    /// Frames one after the other (RFC 8878).
    Zstd(zstd::stream::read::Decoder<'static, R>),
    /// A tar as it is.
    Plain(R),
}

impl<R: BufRead> Stream<R> {
    /// Looks at the first bytes.
    pub fn new(mut input: R) -> io::Result<Self> {
        Ok(match input.fill_buf()? {
            [0x1f, 0x8b, ..] => Self::Gzip(Box::new(MultiGzDecoder::new(input))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Self::Zstd(decoder)
            }
            _ => Self::Plain(input),
        })
    }

    fn input(&mut self) -> &mut R {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
            Self::Plain(input) => input,
        }
    }

    fn into_input(self) -> R {
        match self {
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish(),
            Self::Plain(input) => input,
        }
    }
}

impl<R: BufRead> Read for Stream<R> {
    /// 0 only where the input ends too, after whole members and frames.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(into),
            Self::Zstd(decoder) => decoder.read(into),
            Self::Plain(input) => input.read(into),
        }
    }
}

/// The tar's bytes as they arrive from the decoding thread; hashed here, on the other processor.
pub struct Chunks {
    full: Receiver<Result<Vec<u8>, Failure>>,
    empty: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    hash: Sha256,
    bytes: u64,
}

/// Starts the decoding thread.
pub fn start<R: Read + Send + 'static>(
    file: R,
    size: u64,
    limits: LayerLimits,
) -> Result<(Chunks, thread::JoinHandle<io::Result<Proof>>), Failure> {
    let (send_full, full) = sync_channel(DEPTH);
    let (empty, take_empty) = sync_channel(DEPTH + 2);
    let work = move || {
        let mut stream = match Stream::new(Blob::new(file, size)) {
            Ok(stream) => stream,
            Err(error) => {
                let _ = send_full.send(Err(broken(&error)));
                return Err(error);
            }
        };
        // The reader hanging up is its way to stop this; it knows why.
        if let Err(failure) = decode(&mut stream, limits, &send_full, &take_empty) {
            let _ = send_full.send(Err(failure));
        }
        drop(send_full);
        stream.into_input().prove()
    };
    let thread = thread::Builder::new().name("decode".to_owned()).spawn(work);
    let thread = thread.map_err(|error| system("start decoder", b"thread", errno(&error)))?;
    Ok((Chunks { full, empty, chunk: Vec::new(), at: 0, hash: Sha256::new(), bytes: 0 }, thread))
}

fn decode<R: Read>(
    stream: &mut Stream<Blob<R>>,
    limits: LayerLimits,
    full: &SyncSender<Result<Vec<u8>, Failure>>,
    empty: &Receiver<Vec<u8>>,
) -> Result<(), Failure> {
    let mut total = 0_u64;
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let mut used = 0;
        while let Some(space @ [_, ..]) = chunk.get_mut(used..) {
            match stream.read(space).map_err(|error| broken(&error))? {
                0 => break,
                count => used += count,
            }
        }
        chunk.truncate(used);
        total += used as u64;
        let read = stream.input().read.max(1);
        if total > limits.bytes {
            return Err(too_long(format!("the layer is longer than {} bytes", limits.bytes)));
        }
        if total > RATIO_FREE && total / read > u64::from(limits.ratio) {
            return Err(refused("limit ratio", format!("the layer expands more than {} times", limits.ratio)));
        }
        if used == 0 || full.send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
}

/// An errno is the disk's, anything else the blob's.
fn broken(error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(_) => system("read blob", b"blob", errno(error)),
        // The crate leaves zstd's name for an error, and no number.
        None if error.to_string() == get_error_name(WINDOW_TOO_LARGE) => {
            refused("decompress", format!("its zstd window is larger than {} MiB", (1 << ZSTD_WINDOW_LOG) >> 20))
        }
        None => refused("decompress", error.to_string()),
    }
}

/// The errno of an error that has one.
pub fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

impl Chunks {
    /// Digest and size of the tar, once [`Source::fill`] has given its last byte.
    pub fn prove(self) -> Proof {
        Proof { digest: Digest::from_bytes(self.hash.finalize().into()), size: self.bytes }
    }
}

impl Source for Chunks {
    fn fill(&mut self) -> Result<&[u8], Failure> {
        if self.at >= self.chunk.len() {
            let old = std::mem::take(&mut self.chunk);
            self.at = 0;
            if old.capacity() > 0 {
                let _ = self.empty.try_send(old);
            }
            // The decoder hangs up after its last chunk.
            if let Ok(chunk) = self.full.recv() {
                self.chunk = chunk?;
                self.hash.update(&self.chunk);
                self.bytes += self.chunk.len() as u64;
            }
        }
        Ok(self.chunk.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}
