//! Cgroup limits, checked against the controllers that the helper was given: a limit that cannot be set is no limit.

use super::error::RuleError;
use super::host_facts::ContainerFacts;
use casemate_error::Code;
use casemate_spec::{ContainerSpec, IoLimit as SpecIoLimit, Spec, Waivable};
use casemate_wire::{CgroupFacts, Facts, IoLimit, Limits, Memory, Resources};

/// Enforced where all can be; waived where one cannot and the file has a waiver for this container.
pub(super) fn limits(
    spec: &Spec,
    container: &ContainerSpec,
    facts: &Facts,
    found: &ContainerFacts,
) -> Result<Limits, RuleError> {
    match check(container, &facts.cgroup) {
        Ok(()) => Ok(Limits::Enforced(resources(container, found)?)),
        Err(_) if spec.waiver(Waivable::Limits, &container.name).is_some() => Ok(Limits::Waived),
        Err(refusal) => Err(refusal),
    }
}

/// Every control that the container asks for has its controller.
fn check(container: &ContainerSpec, cgroup: &CgroupFacts) -> Result<(), RuleError> {
    let asked = &container.resources;
    let mut needed = vec![("memory", "memory"), ("pids", "pids"), ("cpus", "cpu")];
    needed.extend(asked.cpu_weight.map(|_| ("cpu_weight", "cpu")));
    needed.extend(asked.cpuset.as_ref().map(|_| ("cpuset", "cpuset")));
    needed.extend(asked.io.first().map(|_| ("io", "io")));
    let has = |list: &[String], controller: &str| list.iter().any(|name| name == controller);
    for (key, controller) in needed {
        if !has(&cgroup.v2, controller) && !has(&cgroup.v1, controller) {
            let reason = format!("resources.{key} cannot be enforced: no {controller} controller was delegated");
            return Err(RuleError::new(Code::NotEnforceable, "limits", reason).remedy(WAY_OUT));
        }
    }
    if asked.memory_high.is_some() && !has(&cgroup.v2, "memory") {
        let reason = "resources.memory_high cannot be enforced: memory is on cgroup v1, which has no memory.high";
        return Err(RuleError::new(Code::NotEnforceable, "limits", reason)
            .remedy("boot with systemd.unified_cgroup_hierarchy=1, or remove memory_high"));
    }
    Ok(())
}

const WAY_OUT: &str = "start casemate as root or in a unit with Delegate=yes (systemd-run --user --scope -p Delegate=yes), \
                       or add a [[waivers]] entry with rule = \"limits\" for this container";

fn resources(container: &ContainerSpec, found: &ContainerFacts) -> Result<Resources, RuleError> {
    let asked = &container.resources;
    Ok(Resources {
        memory: Memory {
            max: asked.memory.bytes(),
            high: asked.memory_high.map(casemate_spec::ByteSize::bytes),
            swap: asked.memory_swap,
        },
        pids: asked.pids,
        cpu_quota: Some(asked.cpus.quota()),
        cpu_weight: asked.cpu_weight,
        cpuset: asked.cpuset.as_ref().map(|list| list.as_str().to_owned()),
        io: asked.io.iter().map(|limit| io(limit, found)).collect::<Result<_, _>>()?,
    })
}

fn io(limit: &SpecIoLimit, found: &ContainerFacts) -> Result<IoLimit, RuleError> {
    let path = limit.device.as_str();
    let device = found.devices.get(path).copied();
    Ok(IoLimit {
        device: device.ok_or_else(|| RuleError::spec("io-device", format!("{path} was not looked at")))?,
        read_bps: limit.read_bps,
        write_bps: limit.write_bps,
        read_iops: limit.read_iops,
        write_iops: limit.write_iops,
    })
}
