//! The built-in seccomp filter below every payload's profile, compiled by build.rs from the lists in casemate-filter.

use casemate_confine::ceiling::SYS_CHROOT;

/// The filter for a container that holds these capabilities.
pub fn baseline(capabilities: &[u8]) -> &'static [u8] {
    if capabilities.contains(&SYS_CHROOT) {
        include_bytes!(concat!(env!("OUT_DIR"), "/baseline-chroot"))
    } else {
        include_bytes!(concat!(env!("OUT_DIR"), "/baseline"))
    }
}
