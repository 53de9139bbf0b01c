//! What of procfs and sysfs the payload sees.

use super::outside::Outside;
use crate::spec::{ContainerSpec, Seccomp};
use casemate_confine::ceiling;
use casemate_wire::Proc;
use std::collections::BTreeSet;

/// `casemate:minimal` is for programs that read nothing of procfs but processes; every other container gets the masks.
pub(super) fn proc(container: &ContainerSpec, outside: &Outside) -> Proc {
    let subset_pid = container.security.seccomp == Seccomp::Minimal;
    // What is not mounted needs no mask.
    let there = |path: &str| if path.starts_with("/sys/") { container.sysfs } else { !subset_pid };
    let mut masked: BTreeSet<String> = ceiling::MASKED.iter().map(|&path| path.to_owned()).collect();
    masked.extend(container.security.masked_paths.iter().map(|path| path.as_str().to_owned()));
    masked.extend(
        (0..outside.cpus).map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/{}", ceiling::MASKED_PER_CPU)),
    );
    let read_only = ceiling::READ_ONLY.iter().map(|&path| path.to_owned());
    Proc {
        subset_pid,
        masked: masked.into_iter().filter(|path| there(path)).collect(),
        read_only: read_only.filter(|path| there(path)).collect(),
    }
}
