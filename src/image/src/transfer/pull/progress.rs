//! Progress of a pull, for display.

use casemate_wire::Digest;

/// Receives the progress of a pull, from several threads.
pub trait Progress: Sync {
    /// A blob's download begins; `at` bytes are there from an earlier pull.
    fn begin(&self, blob: &Digest, at: u64, size: u64);
    /// `at` bytes of the blob are there.
    fn at(&self, blob: &Digest, at: u64);
    /// The download has ended; `verified`: the blob is complete and has the right digest.
    fn end(&self, blob: &Digest, verified: bool);
    /// A layer of an image is unpacked from here on: its number from 1, of how many.
    fn layer(&self, image: &str, number: usize, of: usize);
}
