//! Limits as the kernel's files take them, on cgroup v2 and the same ones on v1; what was written is read back.

use casemate_confine::{At, Error};
use casemate_wire::{IoLimit, Limits, Resources};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, pread};
use std::fmt::Display;
use std::fs;
use std::path::Path;

/// The period of CPU quotas, in microseconds.
const PERIOD: u32 = 100_000;

/// How what was written is to come back.
enum ReadBack {
    /// As it was written.
    Same,
    /// Rounded down to pages.
    Bytes(u64),
    /// So too; where the kernel does not count swap there is no file, which is fine only while the host has no swap.
    Swap(u64),
    /// In a list that the kernel prints in its own way: it says at once what it does not take.
    Listed,
}

/// What one file takes.
type Setting = (&'static str, String, ReadBack);

/// The controllers that these limits need.
pub fn wanted(limits: &Limits) -> Vec<&'static str> {
    let Limits::Enforced(resources) = limits else { return Vec::new() };
    let cpu = resources.cpu_quota.is_some() || resources.cpu_weight.is_some();
    let optional = [("cpu", cpu), ("cpuset", resources.cpuset.is_some()), ("io", !resources.io.is_empty())];
    let more = optional.into_iter().filter(|&(_, wanted)| wanted).map(|(name, _)| name);
    ["memory", "pids"].into_iter().chain(more).collect()
}

fn text(file: &'static str, value: impl Display) -> Setting {
    (file, value.to_string(), ReadBack::Same)
}

fn bytes(file: &'static str, bytes: u64, read_back: fn(u64) -> ReadBack) -> Setting {
    (file, bytes.to_string(), read_back(bytes))
}

/// Writes the limits of one controller of v2.
pub fn write_v2(directory: &Path, controller: &str, limits: &Resources) -> Result<(), Error> {
    let memory = limits.memory;
    let settings: Vec<Option<Setting>> = match controller {
        "memory" => vec![
            Some(bytes("memory.max", memory.max, ReadBack::Bytes)),
            memory.high.map(|high| bytes("memory.high", high, ReadBack::Bytes)),
            Some(bytes("memory.swap.max", memory.swap, ReadBack::Swap)),
            Some(text("memory.oom.group", 1)),
        ],
        "pids" => vec![Some(text("pids.max", limits.pids))],
        "cpu" => vec![
            limits.cpu_quota.map(|quota| text("cpu.max", format_args!("{quota} {PERIOD}"))),
            limits.cpu_weight.map(|weight| text("cpu.weight", weight)),
        ],
        "cpuset" => vec![limits.cpuset.as_ref().map(|cpus| text("cpuset.cpus", cpus))],
        _ => limits.io.iter().map(|io| Some(("io.max", io_line(io), ReadBack::Listed))).collect(),
    };
    settings.into_iter().flatten().try_for_each(|setting| put(directory, setting))
}

/// Writes the limits of one controller of v1.
pub fn write_v1(directory: &Path, controller: &str, limits: &Resources) -> Result<(), Error> {
    let memory = limits.memory;
    let settings: Vec<Option<Setting>> = match controller {
        "memory" if memory.high.is_some() => {
            return Err(Error::not_enforceable(
                "memory.high: cgroup v1 has no such limit; leave memory_high out, or boot with cgroup v2",
            ));
        }
        "memory" => vec![
            Some(bytes("memory.limit_in_bytes", memory.max, ReadBack::Bytes)),
            Some(bytes("memory.memsw.limit_in_bytes", memory.max.saturating_add(memory.swap), ReadBack::Swap)),
        ],
        "cpu" => vec![
            limits.cpu_quota.map(|_| text("cpu.cfs_period_us", PERIOD)),
            limits.cpu_quota.map(|quota| text("cpu.cfs_quota_us", quota)),
            // The kernel's own scale: weight 100 is 1024 shares.
            limits.cpu_weight.map(|weight| text("cpu.shares", (u32::from(weight) * 1024 / 100).max(2))),
        ],
        "cpuset" => {
            let parent = directory.parent().unwrap_or(directory);
            let nodes = fs::read_to_string(parent.join("cpuset.mems")).at("cpuset.mems")?;
            put(directory, text("cpuset.mems", nodes.trim()))?;
            return write_v2(directory, controller, limits);
        }
        "io" => limits.io.iter().flat_map(io_v1).map(Some).collect(),
        _ => return write_v2(directory, controller, limits),
    };
    settings.into_iter().flatten().try_for_each(|setting| put(directory, setting))
}

/// Writes one file that is there, and compares what it says then.
fn put(directory: &Path, (file, text, wanted): Setting) -> Result<(), Error> {
    let mut found = [0; 4096];
    // Never created: cgroupfs answers an attempt with EACCES, which would say nothing of a kernel without this file.
    let read_back = match open(directory.join(file), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) if matches!(wanted, ReadBack::Swap(_)) => return no_swap(file),
        opened => opened.and_then(|fd| rustix::io::write(&fd, text.as_bytes()).and_then(|_| pread(&fd, &mut found, 0))),
    };
    let length = read_back.at(format_args!("{file} = {text}")).map_err(Error::as_not_enforceable)?;
    let found = String::from_utf8_lossy(found.get(..length).unwrap_or_default());
    let found = found.trim();
    let same = match wanted {
        ReadBack::Same => found == text,
        ReadBack::Bytes(wanted) | ReadBack::Swap(wanted) => {
            found.parse().is_ok_and(|got: u64| got <= wanted && wanted - got < 1 << 16)
        }
        ReadBack::Listed => true,
    };
    if same {
        return Ok(());
    }
    Err(Error::not_enforceable(format_args!("{file}: wrote {text}, the kernel made it {found}")))
}

fn no_swap(file: &str) -> Result<(), Error> {
    let swaps = fs::read_to_string("/proc/swaps").at("/proc/swaps")?;
    if swaps.lines().count() <= 1 {
        return Ok(());
    }
    Err(Error::not_enforceable(format_args!(
        "{file}: this kernel does not limit swap, and the host has swap; boot with swapaccount=1, or without swap"
    )))
}

/// The four limits of one device: key in io.max, file of v1, value.
fn io_limits(io: &IoLimit) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
    [
        ("rbps", "blkio.throttle.read_bps_device", io.read_bps),
        ("wbps", "blkio.throttle.write_bps_device", io.write_bps),
        ("riops", "blkio.throttle.read_iops_device", io.read_iops),
        ("wiops", "blkio.throttle.write_iops_device", io.write_iops),
    ]
    .into_iter()
    .filter_map(|(key, file, value)| Some((key, file, value?)))
}

fn io_line(io: &IoLimit) -> String {
    let limits: String = io_limits(io).map(|(key, _, value)| format!(" {key}={value}")).collect();
    format!("{}:{}{limits}", io.device.0, io.device.1)
}

fn io_v1(io: &IoLimit) -> impl Iterator<Item = Setting> {
    let (major, minor) = io.device;
    io_limits(io).map(move |(_, file, value)| (file, format!("{major}:{minor} {value}"), ReadBack::Listed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_compared_with_the_value_of_the_file() {
        // /dev/null takes everything and says nothing of it.
        let null = put(Path::new("/dev"), text("null", 1)).unwrap_err().to_string();
        assert_eq!(null, "null: wrote 1, the kernel made it ");
        let directory = std::env::temp_dir().join(format!("casemate-limits-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("pids.max"), "").unwrap();
        put(&directory, text("pids.max", 16)).unwrap();
        // What this kernel does not have is not made.
        let missing = put(&directory, bytes("memory.max", 4096, ReadBack::Bytes)).unwrap_err();
        assert_eq!(missing.in_step("limits").errno, Some(Errno::NOENT.raw_os_error()));
        let swap = put(&directory, bytes("memory.swap.max", 0, ReadBack::Swap));
        assert_eq!(swap, no_swap("memory.swap.max"));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn limits_of_devices_are_one_line_on_v2_and_a_file_each_on_v1() {
        let io = IoLimit { device: (8, 16), read_bps: Some(1), write_bps: None, read_iops: None, write_iops: Some(2) };
        assert_eq!(io_line(&io), "8:16 rbps=1 wiops=2");
        let files: Vec<_> = io_v1(&io).map(|(file, text, _)| format!("{file} {text}")).collect();
        assert_eq!(files, ["blkio.throttle.read_bps_device 8:16 1", "blkio.throttle.write_iops_device 8:16 2"]);
    }
}
