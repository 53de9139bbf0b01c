//! Cgroup limits, checked against the controllers that were delegated to the helper.

use super::error::RuleError;
use super::host_facts::ContainerFacts;
use casemate_error::Code;
use casemate_spec::{ContainerSpec, IoLimit as SpecIoLimit, Spec, Waivable};
use casemate_wire::{CgroupFacts, Facts as HelperFacts, IoLimit, Limits, Memory, Resources};

/// Enforced if all limits can be; waived if one cannot and the file has a waiver for this container.
pub(super) fn limits(
    spec: &Spec,
    container: &ContainerSpec,
    helper_facts: &HelperFacts,
    container_facts: &ContainerFacts,
) -> Result<Limits, RuleError> {
    match check(container, &helper_facts.cgroup) {
        Ok(()) => Ok(Limits::Enforced(resources(container, container_facts)?)),
        Err(_) if spec.waiver(Waivable::Limits, &container.name).is_some() => Ok(Limits::Waived),
        Err(refusal) => Err(refusal),
    }
}

/// Fails if a limit of the container has no controller.
fn check(container: &ContainerSpec, cgroup: &CgroupFacts) -> Result<(), RuleError> {
    let limits = &container.resources;
    let mut needed = vec![("memory", "memory"), ("pids", "pids"), ("cpus", "cpu")];
    needed.extend(limits.cpu_weight.map(|_| ("cpu_weight", "cpu")));
    needed.extend(limits.cpuset.as_ref().map(|_| ("cpuset", "cpuset")));
    needed.extend(limits.io.first().map(|_| ("io", "io")));
    let has = |list: &[String], controller: &str| list.iter().any(|name| name == controller);
    for (key, controller) in needed {
        if !has(&cgroup.v2, controller) && !has(&cgroup.v1, controller) {
            let reason = format!("resources.{key} cannot be enforced: no {controller} controller was delegated");
            return Err(RuleError::new(Code::NotEnforceable, "limits", reason).remedy(DELEGATE));
        }
    }
    if limits.memory_high.is_some() && !has(&cgroup.v2, "memory") {
        let reason = "resources.memory_high cannot be enforced: memory is on cgroup v1, which has no memory.high";
        return Err(RuleError::new(Code::NotEnforceable, "limits", reason)
            .remedy("boot with systemd.unified_cgroup_hierarchy=1, or remove memory_high"));
    }
    Ok(())
}

const DELEGATE: &str = "start casemate as root or in a unit with Delegate=yes (systemd-run --user --scope -p Delegate=yes), \
                       or add a [[waivers]] entry with rule = \"limits\" for this container";

fn resources(container: &ContainerSpec, container_facts: &ContainerFacts) -> Result<Resources, RuleError> {
    let limits = &container.resources;
    Ok(Resources {
        memory: Memory {
            max: limits.memory.bytes(),
            high: limits.memory_high.map(casemate_spec::ByteSize::bytes),
            swap: limits.memory_swap,
        },
        pids: limits.pids,
        cpu_quota: Some(limits.cpus.quota()),
        cpu_weight: limits.cpu_weight,
        cpuset: limits.cpuset.as_ref().map(|list| list.as_str().to_owned()),
        io: limits.io.iter().map(|limit| io(limit, container_facts)).collect::<Result<_, _>>()?,
    })
}

fn io(limit: &SpecIoLimit, container_facts: &ContainerFacts) -> Result<IoLimit, RuleError> {
    let path = limit.device.as_str();
    let device = container_facts.devices.get(path).copied();
    Ok(IoLimit {
        device: device.ok_or_else(|| RuleError::spec("io-device", format!("the number of {path} was not read")))?,
        read_bps: limit.read_bps,
        write_bps: limit.write_bps,
        read_iops: limit.read_iops,
        write_iops: limit.write_iops,
    })
}
