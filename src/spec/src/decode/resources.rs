//! `[containers.NAME.resources]`.

use super::scalar;
use crate::cursor::{Cursor, Item};
use crate::finding::{Findings, quoted};
use crate::model::IoLimit;
use crate::policy::Limit;
use crate::raw::RawResources;
use crate::values::{AbsolutePath, ByteSize, CpuList, Cpus};
use crate::{keys, rules};

/// The most processes that a limit can allow: the kernel's PID_MAX_LIMIT.
const MAX_PIDS: u32 = 4 << 20;

pub(super) fn resources(mut table: Cursor<'_>, out: &mut Findings<'_>) -> RawResources {
    let (memory, cpus, pids) = (table.take("memory"), table.take("cpus"), table.take("pids"));
    let stated = [(Limit::Memory, &memory), (Limit::Pids, &pids), (Limit::Cpus, &cpus)];
    let resources = RawResources {
        stated: stated.into_iter().filter(|(_, item)| item.is_some()).map(|(limit, _)| limit).collect(),
        memory: memory.and_then(|item| Some(item.at(scalar::size(&item, out)?))),
        memory_high: table.take("memory_high").and_then(|item| Some(item.at(scalar::size(&item, out)?))),
        memory_swap: table.take("memory_swap").and_then(|item| scalar::size_or_zero(&item, out)),
        cpus: cpus.and_then(|item| cpu_time(&item, out)),
        cpu_weight: table.take("cpu_weight").and_then(|item| scalar::limit(&item, 1..=10_000, out)),
        cpuset: table.take("cpuset").and_then(|item| cpuset(&item, out)),
        pids: pids.and_then(|item| scalar::limit(&item, 1..=MAX_PIDS, out)),
        io: table.take("io").map(|item| io(&item, out)).unwrap_or_default(),
    };
    table.finish(out);
    resources
}

fn cpu_time(item: &Item<'_>, out: &mut Findings<'_>) -> Option<Cpus> {
    let Some(count) = item.as_float() else {
        item.wrong_type("a number", Some("write it as in `cpus = 0.5`"), out);
        return None;
    };
    let cpus = Cpus::new(count);
    if cpus.is_none() {
        if count <= 0.0 || count.is_infinite() {
            out.add(&rules::LIMIT_ZERO, &item.span, "`cpus` has to be a real limit")
                .help("give the number of CPUs that it may use, such as 0.5");
        } else {
            out.add(&rules::CPUS, &item.span, "`cpus` is a number from 0.01 to 4096");
        }
    }
    cpus
}

fn cpuset(item: &Item<'_>, out: &mut Findings<'_>) -> Option<CpuList> {
    let text = item.string(out)?;
    match CpuList::new(text) {
        Ok(list) => Some(list),
        Err(error) => {
            out.add(&rules::CPUSET, &item.span, format!("{}: {error}", quoted(text)));
            None
        }
    }
}

/// `[{ device = "/dev/mmcblk0", write_bps = "8MiB", read_iops = 500 }]`
fn io(item: &Item<'_>, out: &mut Findings<'_>) -> Vec<IoLimit> {
    let help = "write it as in `[{ device = \"/dev/mmcblk0\", write_bps = \"8MiB\" }]`";
    let mut limits: Vec<IoLimit> = Vec::new();
    for element in item.array("a list of tables", Some(help), out).unwrap_or_default() {
        let Some(mut table) = element.table(&keys::IO, out) else { continue };
        let device = table.require("device", out).and_then(|item| io_device(&item, &limits, out));
        let rates = ["read_bps", "write_bps", "read_iops", "write_iops"].map(|key| table.take(key));
        let none = rates.iter().all(Option::is_none);
        let [read_bps, write_bps, read_iops, write_iops] = rates;
        let mut bytes = |item: Option<Item<'_>>| item.and_then(|item| scalar::size(&item, out)).map(ByteSize::bytes);
        let (read_bps, write_bps) = (bytes(read_bps), bytes(write_bps));
        let mut count = |item: Option<Item<'_>>| item.and_then(|item| scalar::limit(&item, 1..=u64::MAX >> 1, out));
        let (read_iops, write_iops) = (count(read_iops), count(write_iops));
        table.finish(out);
        if none {
            out.absent(&rules::IO_LIMIT, &element.span, "nothing is limited here")
                .help("add read_bps, write_bps, read_iops or write_iops");
        }
        if let Some(device) = device {
            limits.push(IoLimit { device, read_bps, write_bps, read_iops, write_iops });
        }
    }
    limits
}

fn io_device(item: &Item<'_>, before: &[IoLimit], out: &mut Findings<'_>) -> Option<AbsolutePath> {
    let path = scalar::path(item, out)?;
    if !path.is_at_or_below("/dev") || path.as_str() == "/dev" {
        out.add(&rules::IO_LIMIT, &item.span, "a block device lies below /dev");
    } else if before.iter().any(|limit| limit.device == path) {
        out.add(&rules::IO_LIMIT, &item.span, format!("{path} has its limits already"))
            .help("put all four into one table");
    }
    Some(path)
}
