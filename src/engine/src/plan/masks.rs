//! What of procfs and sysfs the payload sees. The reasons of both lists stand in policies/ceilings.toml, and a test compares.

use super::host_facts::ContainerFacts;
use casemate_spec::{ContainerSpec, Seccomp};
use casemate_wire::Proc;
use std::collections::BTreeSet;

/// Always hidden: a file reads as empty, a directory is empty. What lies below `/sys` matters where the file asks for sysfs.
pub(super) const MASKED: &[&str] = &[
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kallsyms", "/proc/kcore", "/proc/key-users", "/proc/keys",
    "/proc/latency_stats", "/proc/modules", "/proc/sched_debug", "/proc/scsi", "/proc/sysrq-trigger",
    "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
];

/// Hidden for every CPU, where the file asks for sysfs: the directory below `/sys/devices/system/cpu/cpuN`.
pub(super) const MASKED_PER_CPU: &str = "thermal_throttle";

/// Always read-only.
pub(super) const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/pressure", "/proc/sys"];

/// `casemate:minimal` is for programs that read nothing of procfs but processes; every other container gets the masks.
pub(super) fn proc(container: &ContainerSpec, found: &ContainerFacts) -> Proc {
    let subset_pid = container.security.seccomp == Seccomp::Minimal;
    // What is not mounted needs no mask.
    let there = |path: &str| if path.starts_with("/sys/") { container.sysfs } else { !subset_pid };
    let mut masked: BTreeSet<String> = MASKED.iter().map(|&path| path.to_owned()).collect();
    masked.extend(container.security.masked_paths.iter().map(|path| path.as_str().to_owned()));
    masked.extend((0..found.cpus).map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/{}", MASKED_PER_CPU)));
    let read_only = READ_ONLY.iter().map(|&path| path.to_owned());
    Proc {
        subset_pid,
        masked: masked.into_iter().filter(|path| there(path)).collect(),
        read_only: read_only.filter(|path| there(path)).collect(),
    }
}
