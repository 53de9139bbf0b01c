//! The built-in seccomp filters, compiled by build.rs from the lists in casemate-filter.

use casemate_confine::ceiling::SYS_CHROOT;

/// For the doorman.
pub const DOORMAN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/doorman"));
/// For the realm, and so below everything in A.
pub const REALM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/realm"));

/// Below the profile of a container that holds these capabilities.
pub fn baseline(capabilities: &[u8]) -> &'static [u8] {
    if capabilities.contains(&SYS_CHROOT) {
        include_bytes!(concat!(env!("OUT_DIR"), "/baseline-chroot"))
    } else {
        include_bytes!(concat!(env!("OUT_DIR"), "/baseline"))
    }
}
