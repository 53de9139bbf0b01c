//! Plans one container: spec, image and facts to a job, with all decisions made.
//!
//! Input: the checked spec, a proven image, the helper's facts, and [`ContainerFacts`]. Output: a [`Job`] that the helper checks again, or
//! an [`Error`] that names the rule. Pure, except [`ContainerFacts::read`] and [`HostFacts::read`].

mod error;
mod etc_files;
mod host_facts;
mod landlock;
mod limits;
mod masks;
mod mounts;
mod process;

pub use error::Error;
pub use host_facts::{ContainerFacts, HostFacts, missing_on_host};

use crate::profile;
use casemate_confine::ceiling;
use casemate_error::Code;
use casemate_image::Image;
use casemate_spec::{ContainerSpec, Root, Seccomp, Spec};
use casemate_wire::{
    Confinement, Device, Digest, Facts as HelperFacts, IdSpace, Ids, Job, Network, Rootfs, WritableRoot,
};
use error::RuleError;
use sha2::{Digest as _, Sha256};
use std::path::Path;

/// Plans one container.
pub fn job(
    spec: &Spec,
    container: &ContainerSpec,
    image: &Image,
    helper_facts: &HelperFacts,
    container_facts: &ContainerFacts,
) -> Result<Job, Error> {
    plan(spec, container, image, helper_facts, container_facts).map_err(|error| error.for_container(&container.name))
}

fn plan(
    spec: &Spec,
    container: &ContainerSpec,
    image: &Image,
    helper_facts: &HelperFacts,
    container_facts: &ContainerFacts,
) -> Result<Job, RuleError> {
    let mounts = mounts::mounts(container, &image.config)?;
    let mut job = Job {
        name: container.name.clone(),
        digest: Digest::from_bytes([0; 32]),
        confinement: Confinement {
            ids: ids(container, helper_facts)?,
            capabilities: capabilities(container)?,
            landlock: landlock::landlock(container, &mounts, helper_facts)?,
            seccomp: seccomp(container, container_facts.profile.as_deref())?,
        },
        rootfs: Rootfs {
            layers: image.chain(),
            writable_root: writable_root(container.root),
            mounts,
            devices: devices(container),
            shm_size: container.shm_size.bytes(),
            proc: masks::proc(container, container_facts),
            sysfs: container.sysfs,
        },
        process: process::process(container, &image.config)?,
        limits: limits::limits(spec, container, helper_facts, container_facts)?,
        network: Network {
            hostname: container.hostname.clone(),
            hosts: etc_files::hosts(&container.hostname),
            resolv_conf: etc_files::RESOLV_CONF.to_vec(),
            sysctls: sysctls(container)?,
        },
    };
    job.digest = digest(&job)?;
    Ok(job)
}

fn writable_root(root: Root) -> WritableRoot {
    match root {
        Root::ReadOnly => WritableRoot::None,
        Root::Ephemeral { size, inodes } => WritableRoot::Ephemeral { size: size.bytes(), inodes },
        Root::Persistent => WritableRoot::Persistent,
    }
}

fn devices(container: &ContainerSpec) -> Vec<Device> {
    let device = |device: &casemate_spec::Device| Device {
        source: device.source.as_str().to_owned(),
        target: device.target.as_str().to_owned(),
        write: device.write,
    };
    container.devices.iter().map(device).collect()
}

/// The container's ids. The id range of the outer user namespace (A) may be shorter than the file allows.
fn ids(container: &ContainerSpec, helper_facts: &HelperFacts) -> Result<Ids, RuleError> {
    let uid = container.user.uid.get();
    let gid = container.user.gid.get();
    match helper_facts.ids {
        IdSpace::Range { count } if uid.max(gid) > count => {
            let reason = format!("user {uid}:{gid} is outside the {count} ids of this host's range");
            let remedy = "choose a lower number, or give casemate-helper a longer range in /etc/subuid and /etc/subgid";
            Err(RuleError::new(Code::NotEnforceable, "user-range", reason).remedy(remedy))
        }
        _ => Ok(Ids { uid, gid }),
    }
}

/// The file's sysctls. NET_BIND_SERVICE has no effect in the container's user namespace (P), which does not own the network namespace, so
/// low ports are opened by a sysctl instead.
fn sysctls(container: &ContainerSpec) -> Result<Vec<(String, String)>, RuleError> {
    const LOW_PORTS: &str = "net.ipv4.ip_unprivileged_port_start";
    let mut sysctls = container.sysctls.clone();
    if container.security.cap_add.contains(&ceiling::NET_BIND_SERVICE) {
        sysctls.entry(LOW_PORTS.to_owned()).or_insert_with(|| "0".to_owned());
    }
    match sysctls.iter().find(|(name, value)| !ceiling::sysctl(name, value)) {
        Some((name, value)) => Err(RuleError::spec("sysctl", format!("`{name} = {value}` is not allowed"))
            .remedy("policies/ceilings.toml lists the sysctls that are")),
        None => Ok(sysctls.into_iter().collect()),
    }
}

fn capabilities(container: &ContainerSpec) -> Result<Vec<u8>, RuleError> {
    let mut capabilities = container.security.cap_add.clone();
    capabilities.sort_unstable();
    capabilities.dedup();
    match capabilities.iter().find(|&&number| !ceiling::capability(number)) {
        Some(number) => Err(RuleError::spec("cap-add", format!("capability {number} is above the ceiling"))
            .remedy("policies/ceilings.toml lists the capabilities below it")),
        None => Ok(capabilities),
    }
}

/// Checks the container's own seccomp profile, if it has one; `directory`: that of the file.
pub fn check_profile(container: &ContainerSpec, directory: &Path) -> Result<(), Error> {
    let program = host_facts::custom_profile(container, directory).and_then(|text| seccomp(container, text.as_deref()));
    program.map(drop).map_err(|error| error.for_container(&container.name))
}

/// The text of the container's own seccomp profile; `None`: it uses a built-in one.
pub fn read_custom_profile(container: &ContainerSpec, directory: &Path) -> Result<Option<String>, Error> {
    host_facts::custom_profile(container, directory).map_err(|error| error.for_container(&container.name))
}

fn seccomp(container: &ContainerSpec, custom: Option<&str>) -> Result<Vec<u8>, RuleError> {
    let text = match (&container.security.seccomp, custom) {
        (Seccomp::Service, _) => profile::SERVICE,
        (Seccomp::Minimal, _) => profile::MINIMAL,
        (Seccomp::File { .. }, Some(text)) => text,
        (Seccomp::File { profile, .. }, None) => {
            return Err(RuleError::spec("seccomp-profile", format!("{profile} was not read")));
        }
    };
    let program = profile::compile(text).map_err(|error| {
        RuleError::spec("seccomp-profile", error.to_string()).remedy("policies/seccomp shows the format")
    })?;
    Ok(program.to_bytes())
}

/// sha256 of the encoded job with a zero digest.
fn digest(job: &Job) -> Result<Digest, RuleError> {
    let bytes = job.encode().map_err(|error| {
        RuleError::spec("job-size", format!("the job cannot be sent: {error}"))
            .remedy("shorten the environment, the command or the lists of paths")
    })?;
    Ok(Digest::from_bytes(Sha256::digest(&bytes).into()))
}

#[cfg(test)]
mod ceilings_tests;
#[cfg(test)]
mod tests;
