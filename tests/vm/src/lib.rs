//! `make test-vm`: a Debian host with systemd and cgroup v2 is booted in qemu, with this crate on both sides.
//!
//! [`host`] makes the disks, boots, cuts the power, and prints what [`guest`] reports over a serial line: [`line`]. What is
//! booted and asked stands in [`boots`], which both read, so a test that did not answer is noticed.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

pub mod boots;
pub mod guest;
pub mod host;
pub mod line;
