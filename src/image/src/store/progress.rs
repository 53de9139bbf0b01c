//! Progress of long work on the store, for display.

/// Receives the progress of an import, a check or an unpack.
pub trait Progress {
    /// A blob of `size` bytes is read from here on.
    fn blob(&mut self, name: &str, size: u64);
    /// `done` bytes of the blob are read.
    fn at(&mut self, done: u64);
    /// A layer is unpacked from here on: its number from 1, of how many.
    fn layer(&mut self, number: usize, of: usize);
    /// Another process changes the store; this one waits for it.
    fn waiting(&mut self) {}
}

/// Displays nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn blob(&mut self, _name: &str, _size: u64) {}
    fn at(&mut self, _done: u64) {}
    fn layer(&mut self, _number: usize, _of: usize) {}
}
