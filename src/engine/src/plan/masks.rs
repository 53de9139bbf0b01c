//! Masked and read-only paths of procfs and sysfs. policies/ceilings.toml has their reasons, and a test compares the two.

use super::host_facts::ContainerFacts;
use casemate_spec::{ContainerSpec, Seccomp};
use casemate_wire::Proc;
use std::collections::BTreeSet;

/// Always masked: files and directories are empty. Paths below `/sys` apply if the file asks for sysfs.
pub(super) const MASKED: &[&str] = &[
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kallsyms", "/proc/kcore", "/proc/key-users", "/proc/keys",
    "/proc/latency_stats", "/proc/modules", "/proc/sched_debug", "/proc/scsi", "/proc/sysrq-trigger",
    "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
];

/// Masked for every CPU if the file asks for sysfs: this directory below `/sys/devices/system/cpu/cpuN`.
pub(super) const MASKED_PER_CPU: &str = "thermal_throttle";

/// Always read-only.
pub(super) const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/pressure", "/proc/sys"];

/// Programs with `casemate:minimal` get process directories only (`subset=pid`); every other container gets the masks.
pub(super) fn proc(container: &ContainerSpec, container_facts: &ContainerFacts) -> Proc {
    let subset_pid = container.security.seccomp == Seccomp::Minimal;
    // Paths that are not mounted need no mask.
    let is_mounted = |path: &str| if path.starts_with("/sys/") { container.sysfs } else { !subset_pid };
    let mut masked: BTreeSet<String> = MASKED.iter().map(|&path| path.to_owned()).collect();
    masked.extend(container.security.masked_paths.iter().map(|path| path.as_str().to_owned()));
    masked.extend((0..container_facts.cpus).map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/{}", MASKED_PER_CPU)));
    let mut read_only: BTreeSet<String> = READ_ONLY.iter().map(|&path| path.to_owned()).collect();
    read_only.extend(container.security.read_only_paths.iter().map(|path| path.as_str().to_owned()));
    Proc {
        subset_pid,
        masked: masked.into_iter().filter(|path| is_mounted(path)).collect(),
        read_only: read_only.into_iter().filter(|path| is_mounted(path)).collect(),
    }
}
