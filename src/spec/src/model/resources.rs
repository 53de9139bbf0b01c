//! Limits of a container's cgroup and of its process.

use crate::finding::Findings;
use crate::item::{At, Item, find};
use crate::keys::confinement as keys;
use crate::rules;
use crate::values::{AbsolutePath, ByteSize, CpuList, Cpus};
use crate::view::View;

/// Cgroup limits. The three that `policy.require_limits` can name always have a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// memory.max.
    pub memory: ByteSize,
    /// memory.high, not above `memory`.
    pub memory_high: Option<ByteSize>,
    /// memory.swap.max in bytes.
    pub memory_swap: u64,
    /// cpu.max.
    pub cpus: Cpus,
    /// cpu.weight, 1..=10000.
    pub cpu_weight: Option<u16>,
    /// cpuset.cpus.
    pub cpuset: Option<CpuList>,
    /// pids.max, 1 and up.
    pub pids: u32,
    /// io.max, one a block device.
    pub io: Vec<IoLimit>,
}

impl Resources {
    pub(crate) fn read(table: &View<'_>) -> Option<Self> {
        Some(Self {
            memory: table.get(&keys::MEMORY)?,
            memory_high: table.get(&keys::MEMORY_HIGH),
            memory_swap: table.get(&keys::MEMORY_SWAP)?,
            cpus: table.get(&keys::CPUS)?,
            cpu_weight: table.get(&keys::CPU_WEIGHT),
            cpuset: table.get(&keys::CPUSET),
            pids: table.get(&keys::PIDS)?,
            io: table.get(&keys::IO)?,
        })
    }
}

/// io.max of one block device: at least one of the numbers, none of them 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoLimit {
    /// The block device's path on the host.
    pub device: AbsolutePath,
    /// Bytes a second.
    pub read_bps: Option<u64>,
    /// Bytes a second.
    pub write_bps: Option<u64>,
    /// Operations a second.
    pub read_iops: Option<u64>,
    /// Operations a second.
    pub write_iops: Option<u64>,
}

impl IoLimit {
    /// A table of `io`.
    pub(crate) fn read(table: &View<'_>, out: &mut Findings<'_>) -> Option<Self> {
        let numbers = [&keys::IO_READ_BPS, &keys::IO_WRITE_BPS].map(|key| table.own(key).is_some());
        let operations = [&keys::IO_READ_IOPS, &keys::IO_WRITE_IOPS].map(|key| table.own(key).is_some());
        if !numbers.into_iter().chain(operations).any(|stated| stated) {
            out.absent(&rules::IO_LIMIT, &table.span, "this table limits nothing")
                .help("add read_bps, write_bps, read_iops or write_iops");
        }
        Some(Self {
            device: table.get(&keys::IO_DEVICE)?,
            read_bps: table.get(&keys::IO_READ_BPS).map(ByteSize::bytes),
            write_bps: table.get(&keys::IO_WRITE_BPS).map(ByteSize::bytes),
            read_iops: table.get(&keys::IO_READ_IOPS),
            write_iops: table.get(&keys::IO_WRITE_IOPS),
        })
    }

    /// Notes a device that has two tables.
    pub(crate) fn each_once(limits: &[At<Self>], item: &Item<'_>, out: &mut Findings<'_>) {
        let mut seen = std::collections::BTreeSet::new();
        for limit in limits.iter().filter(|limit| !seen.insert(&limit.value.device)) {
            let elements = item.as_array().unwrap_or_default();
            let element = elements.into_iter().find(|element| element.span == limit.span);
            let device = element.and_then(|element| find(element.as_table()?, keys::IO_DEVICE.about.name));
            let span = device.map_or_else(|| limit.span.clone(), |device| device.span);
            let message = format!("{} has a table of limits already", limit.value.device);
            out.add(&rules::IO_LIMIT, &span, message).help("put all limits of a device into one table");
        }
    }
}

/// One resource limit of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ulimit {
    /// The kernel's number (RLIMIT_NOFILE is 7).
    pub resource: u8,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit, not below the soft one.
    pub hard: u64,
}

impl Ulimit {
    /// Soft and hard limit of a table of `ulimits`.
    pub(crate) fn range(table: &View<'_>, out: &mut Findings<'_>) -> Option<(u64, u64)> {
        let soft = table.get(&keys::ULIMIT_SOFT)?;
        let hard = table.get(&keys::ULIMIT_HARD)?;
        if soft > hard {
            let message = format!("the soft limit {soft} is above the hard limit {hard}");
            out.add(&rules::ULIMIT, &table.span, message).help("lower the soft limit, or raise the hard one");
        }
        Some((soft, hard))
    }
}
