//! Limits as the kernel's files take them, on cgroup v2 and the same ones on v1; what was written is read back.

use crate::fault::{At, Fault};
use casemate_wire::{IoLimit, Limits, Memory, Resources};
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;

/// The period of CPU quotas, in microseconds.
const PERIOD: u32 = 100_000;

/// The controllers that these limits need.
pub fn wanted(limits: &Limits) -> Vec<&'static str> {
    let Limits::Enforced(resources) = limits else { return Vec::new() };
    let mut wanted = vec!["memory", "pids"];
    if resources.cpu_quota.is_some() || resources.cpu_weight.is_some() {
        wanted.push("cpu");
    }
    if resources.cpuset.is_some() {
        wanted.push("cpuset");
    }
    if !resources.io.is_empty() {
        wanted.push("io");
    }
    wanted
}

/// Writes the limits of one controller of v2.
pub fn write_v2(directory: &Path, controller: &str, resources: &Resources) -> Result<(), Fault> {
    let set = |file: &str, value: &dyn Display| put(directory, file, value);
    match controller {
        "memory" => {
            bytes(directory, "memory.max", resources.memory.max)?;
            if let Some(high) = resources.memory.high {
                bytes(directory, "memory.high", high)?;
            }
            swap_v2(directory, resources.memory.swap)?;
            set("memory.oom.group", &1)
        }
        "pids" => set("pids.max", &resources.pids),
        "cpu" => {
            if let Some(quota) = resources.cpu_quota {
                set("cpu.max", &format_args!("{quota} {PERIOD}"))?;
            }
            resources.cpu_weight.map_or(Ok(()), |weight| set("cpu.weight", &weight))
        }
        "cpuset" => resources.cpuset.as_ref().map_or(Ok(()), |cpus| set("cpuset.cpus", cpus)),
        _ => {
            for io in &resources.io {
                let line = io_line(io);
                fs::write(directory.join("io.max"), &line)
                    .at(format_args!("io.max = {line}"))
                    .map_err(Fault::as_not_enforceable)?;
            }
            Ok(())
        }
    }
}

/// Writes the limits of one controller of v1.
pub fn write_v1(directory: &Path, controller: &str, resources: &Resources) -> Result<(), Fault> {
    let set = |file: &str, value: &dyn Display| put(directory, file, value);
    match controller {
        "memory" => memory_v1(directory, resources.memory),
        "pids" => set("pids.max", &resources.pids),
        "cpu" => {
            if let Some(quota) = resources.cpu_quota {
                set("cpu.cfs_period_us", &PERIOD)?;
                set("cpu.cfs_quota_us", &quota)?;
            }
            // The kernel's own scale: weight 100 is 1024 shares.
            resources
                .cpu_weight
                .map_or(Ok(()), |weight| set("cpu.shares", &(u32::from(weight) * 1024 / 100).max(2)))
        }
        "cpuset" => {
            let parent = directory.parent().unwrap_or(directory);
            let nodes = fs::read_to_string(parent.join("cpuset.mems")).at("cpuset.mems")?;
            set("cpuset.mems", &nodes.trim())?;
            resources.cpuset.as_ref().map_or(Ok(()), |cpus| set("cpuset.cpus", cpus))
        }
        _ => {
            for io in &resources.io {
                io_v1(directory, io)?;
            }
            Ok(())
        }
    }
}

fn memory_v1(directory: &Path, memory: Memory) -> Result<(), Fault> {
    if memory.high.is_some() {
        return Err(Fault::not_enforceable(
            "memory.high: cgroup v1 has no such limit; leave memory_high out, or boot with cgroup v2",
        ));
    }
    bytes(directory, "memory.limit_in_bytes", memory.max)?;
    let with_swap = memory.max.saturating_add(memory.swap);
    match bytes(directory, "memory.memsw.limit_in_bytes", with_swap) {
        Err(fault) if fault.errno() == Some(rustix::io::Errno::NOENT.raw_os_error()) => {
            no_swap("memory.memsw.limit_in_bytes")
        }
        other => other,
    }
}

fn swap_v2(directory: &Path, swap: u64) -> Result<(), Fault> {
    match bytes(directory, "memory.swap.max", swap) {
        Err(fault) if fault.errno() == Some(rustix::io::Errno::NOENT.raw_os_error()) => {
            no_swap("memory.swap.max")
        }
        other => other,
    }
}

/// A kernel that does not count swap is fine only while there is none.
fn no_swap(file: &str) -> Result<(), Fault> {
    let swaps = fs::read_to_string("/proc/swaps").at("/proc/swaps")?;
    if swaps.lines().count() <= 1 {
        return Ok(());
    }
    Err(Fault::not_enforceable(format_args!(
        "{file}: this kernel does not limit swap, and the host has swap; boot with swapaccount=1, or without swap"
    )))
}

/// A limit in bytes comes back rounded down to pages.
fn bytes(directory: &Path, file: &str, value: u64) -> Result<(), Fault> {
    let path = directory.join(file);
    fs::write(&path, value.to_string())
        .at(format_args!("{file} = {value}"))
        .map_err(Fault::as_not_enforceable)?;
    let got: u64 = read(&path, file)?.parse().unwrap_or(u64::MAX);
    if got <= value && value - got < 1 << 16 { Ok(()) } else { Err(differs(file, value, got)) }
}

fn put(directory: &Path, file: &str, value: &dyn Display) -> Result<(), Fault> {
    let (path, value) = (directory.join(file), value.to_string());
    fs::write(&path, &value).at(format_args!("{file} = {value}")).map_err(Fault::as_not_enforceable)?;
    let got = read(&path, file)?;
    if got == value { Ok(()) } else { Err(differs(file, value, got)) }
}

fn read(path: &Path, file: &str) -> Result<String, Fault> {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).at(file)
}

fn differs(file: &str, wanted: impl Display, got: impl Display) -> Fault {
    Fault::not_enforceable(format_args!("{file}: wrote {wanted}, the kernel made it {got}"))
}

fn io_line(io: &IoLimit) -> String {
    let mut line = format!("{}:{}", io.device.0, io.device.1);
    for (key, value) in
        [("rbps", io.read_bps), ("wbps", io.write_bps), ("riops", io.read_iops), ("wiops", io.write_iops)]
    {
        if let Some(value) = value {
            line.push_str(&format!(" {key}={value}"));
        }
    }
    line
}

fn io_v1(directory: &Path, io: &IoLimit) -> Result<(), Fault> {
    let (major, minor) = io.device;
    for (file, value) in [
        ("blkio.throttle.read_bps_device", io.read_bps),
        ("blkio.throttle.write_bps_device", io.write_bps),
        ("blkio.throttle.read_iops_device", io.read_iops),
        ("blkio.throttle.write_iops_device", io.write_iops),
    ] {
        let Some(value) = value else { continue };
        let line = format!("{major}:{minor} {value}");
        let written: io::Result<()> = fs::write(directory.join(file), &line);
        written.at(format_args!("{file} = {line}")).map_err(Fault::as_not_enforceable)?;
    }
    Ok(())
}
