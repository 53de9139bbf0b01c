//! Disk space of the blobs: bytes that stay free, and bytes that running writes have reserved.

use crate::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bounds of a write.
#[derive(Debug)]
pub(super) struct Space {
    /// Bytes that a write leaves free (`store.free_space`); 0: no bound.
    keep_free: u64,
    /// Bytes that are reserved and not written yet; several blobs are written at a time.
    reserved: AtomicU64,
}

impl Space {
    pub(super) const fn new() -> Self {
        Self { keep_free: 0, reserved: AtomicU64::new(0) }
    }

    pub(super) const fn set_keep_free(&mut self, bytes: u64) {
        self.keep_free = bytes;
    }

    pub(super) const fn keep_free(&self) -> u64 {
        self.keep_free
    }

    /// Bytes that can still be reserved, where the file system has `free` bytes.
    pub(super) fn available(&self, free: u64) -> u64 {
        free.saturating_sub(self.keep_free.saturating_add(self.reserved.load(Ordering::Relaxed)))
    }

    /// Reserves space for `object`.
    pub(super) fn reserve(&self, object: &str, needed: u64, free: u64) -> Result<Reservation<'_>, Error> {
        // Added first and compared afterwards, so that two threads cannot reserve the same bytes.
        let before = self.reserved.fetch_add(needed, Ordering::Relaxed);
        let reservation = Reservation { space: self, left: needed };
        let available = free.saturating_sub(self.keep_free.saturating_add(before));
        if self.keep_free == 0 || needed <= available {
            return Ok(reservation);
        }
        Err(Error::NoSpace { object: object.to_owned(), needed: Some(needed), free_space: self.keep_free })
    }
}

/// Reserved bytes. What is not written by the end is released.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    space: &'a Space,
    left: u64,
}

impl Reservation<'_> {
    /// Releases bytes that are written: the file system counts them from here on.
    pub(super) fn written(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        self.space.reserved.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.written(self.left);
    }
}
