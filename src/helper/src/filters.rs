//! The seccomp filters of the helper's own processes, compiled by build.rs from the lists in casemate-filter.

/// For the listener.
pub const LISTENER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/listener"));
/// For the root of the outer user namespace (A), and so below everything in A.
pub const OUTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/outer"));
