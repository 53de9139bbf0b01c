//! The real program in real namespaces, with hostile input.

// Helpers of tests are tests; the lints only know functions marked as such.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod confined;
mod craft;
mod hostile;
mod index;
mod layers;
mod peers;
mod room;
