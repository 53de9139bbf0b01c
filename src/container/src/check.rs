//! The helper's own invariants: every job is checked here again, whatever its sender has checked.

use casemate_confine::{Error, ceiling};
use casemate_wire::{
    Confinement, Device, IdSpace, Ids, Job, Limits, Mount, Network, Process, Resources, Rootfs, WritableRoot,
};
use std::fmt::Display;

const HIGHEST_ID: u32 = 65_534;

type Checked = Result<(), Error>;

fn require(holds: bool, rule: impl Display) -> Checked {
    if holds { Ok(()) } else { Err(Error::refused(rule)) }
}

/// Whether the helper may start this job with these ids of A. Pure: rules about files are checked by the steps.
pub fn job(job: &Job, space: IdSpace) -> Checked {
    rootfs(&job.rootfs)?;
    confinement(&job.confinement, space)?;
    process(&job.process)?;
    network(&job.network)?;
    match &job.limits {
        Limits::Enforced(resources) => limits(resources),
        Limits::Waived => Ok(()),
    }
}

fn rootfs(rootfs: &Rootfs) -> Checked {
    let layers = rootfs.layers.len();
    require((1..=500).contains(&layers), format_args!("{layers} layers; 1 to 500 are possible"))?;
    if let WritableRoot::Ephemeral { size, inodes } = rootfs.writable_root {
        require(size > 0 && inodes > 0, "a writable root without a size")?;
    }
    targets(&rootfs.mounts)?;
    rootfs.mounts.iter().try_for_each(mount)?;
    rootfs.devices.iter().try_for_each(device)?;
    for path in rootfs.proc.masked.iter().chain(&rootfs.proc.read_only) {
        let known = path.starts_with("/proc/") || path.starts_with("/sys/");
        require(known && normal(path), format_args!("{path} is not a path of procfs or sysfs"))?;
    }
    Ok(())
}

fn confinement(confinement: &Confinement, space: IdSpace) -> Checked {
    ids(&confinement.ids, space)?;
    for &number in &confinement.capabilities {
        require(ceiling::capability(number), format_args!("capability {number} is above the ceiling"))?;
    }
    confinement.landlock.paths.iter().try_for_each(|rule| place(&rule.path))
}

fn network(network: &Network) -> Checked {
    let hostname = &network.hostname;
    require((1..=64).contains(&hostname.len()) && !hostname.contains('\0'), "host name length")?;
    for (key, value) in &network.sysctls {
        require(ceiling::sysctl(key, value), format_args!("sysctl {key} is not on the list, or has no number"))?;
    }
    Ok(())
}

fn ids(ids: &Ids, space: IdSpace) -> Checked {
    let highest = match space {
        IdSpace::Single => HIGHEST_ID,
        IdSpace::Range { count } => count.min(HIGHEST_ID),
    };
    [ids.uid, ids.gid]
        .into_iter()
        .try_for_each(|id| require((1..=highest).contains(&id), format_args!("id {id} is not within 1..={highest}")))
}

/// Absolute, without empty, `.` or `..` components, without NUL, not the root itself.
fn normal(path: &str) -> bool {
    path.len() < 4096
        && !path.contains('\0')
        && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

fn place(path: &str) -> Checked {
    require(path == "/" || normal(path), format_args!("{path} is not an absolute normal path"))
}

/// Whether `path` is `above` or lies below it.
fn within(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn targets(mounts: &[Mount]) -> Checked {
    require(mounts.len() <= 128, "more than 128 mounts")?;
    for (index, mount) in mounts.iter().enumerate() {
        let target = mount.target();
        let reserved = ["/proc", "/dev", "/sys"].iter().any(|above| within(target, above));
        require(normal(target) && !reserved, format_args!("{target} is not a possible mount target"))?;
        for other in mounts.iter().take(index).map(Mount::target) {
            let nested = within(target, other) || within(other, target);
            require(!nested, format_args!("mount targets {other} and {target} are nested"))?;
        }
    }
    Ok(())
}

fn mount(mount: &Mount) -> Checked {
    match mount {
        Mount::Tmpfs { target, size, inodes, mode, .. } => {
            require(*size > 0 && *inodes > 0, format_args!("tmpfs {target} without a size"))?;
            require(*mode <= 0o1777, format_args!("tmpfs {target} with mode {mode:o}"))
        }
        Mount::Volume { .. } => Ok(()),
        Mount::Bind { source, .. } => {
            let reserved = ["/proc", "/sys", "/dev"].iter().any(|above| within(source, above));
            require(normal(source) && !reserved, format_args!("{source} is not a possible bind source"))
        }
    }
}

fn device(device: &Device) -> Checked {
    for path in [&device.source, &device.target] {
        require(normal(path) && path.starts_with("/dev/"), format_args!("{path} is not below /dev"))?;
    }
    let reserved = ["/dev/pts", "/dev/shm"].iter().any(|above| within(&device.target, above));
    require(!reserved, format_args!("{} is not a possible device target", device.target))
}

/// Whether this may be executed in a container.
pub fn process(process: &Process) -> Checked {
    require(process.argv.first().is_some_and(|program| !program.is_empty()), "argv is empty")?;
    for entry in &process.env {
        let name = entry.split(|&c| c == b'=').next().unwrap_or_default();
        require(entry.contains(&b'=') && !name.is_empty(), "environment entry without a name")?;
    }
    let strings = process.argv.iter().chain(&process.env);
    require(strings.clone().all(|string| !string.contains(&0)), "argument or environment with a NUL")?;
    place(&process.cwd)?;
    for limit in &process.rlimits {
        require(limit.resource < 16 && limit.soft <= limit.hard, format_args!("resource limit {}", limit.resource))?;
    }
    Ok(())
}

fn limits(resources: &Resources) -> Checked {
    require(resources.memory.max > 0 && resources.pids > 0, "limits of memory and pids are required")?;
    require(resources.cpu_quota != Some(0), "a cpu quota of 0")?;
    let cpuset = resources.cpuset.as_deref().unwrap_or("0");
    let clean = cpuset.bytes().all(|c| c.is_ascii_digit() || c == b',' || c == b'-');
    require(clean, format_args!("cpuset {cpuset}"))
}
