//! Landlock rules: the limits of the mounts, enforced a second time by another part of the kernel.
//!
//! Landlock rules only add rights: a narrow rule cannot take back what a wide one allows. The rules of `/dev` and `/proc` stay when the
//! file narrows the rest: a program that cannot open /dev/null is not safer, only broken.

use super::error::RuleError;
use casemate_error::Code;
use casemate_spec::{AbsolutePath, ContainerSpec, Root};
use casemate_wire::{Facts as HelperFacts, Landlock, Mount, PathAccess, PathRule};
use std::collections::BTreeMap;

/// The first ABI with TCP rules (landlock(7)).
const ABI_TCP: u32 = 4;
/// The first ABI with scopes.
const ABI_SCOPE: u32 = 6;

/// Device nodes of every container; reading, writing and isatty(3) on them change nothing.
const NODES: &[&str] = &["/dev/full", "/dev/null", "/dev/pts", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"];

const NOTHING: PathAccess = PathAccess { read: false, write: false, execute: false, ioctl_dev: false };
const READ: PathAccess = PathAccess { read: true, ..NOTHING };
const WRITE: PathAccess = PathAccess { write: true, ..NOTHING };
const EXECUTE: PathAccess = PathAccess { execute: true, ..NOTHING };
const TERMINAL: PathAccess = PathAccess { read: true, write: true, execute: false, ioctl_dev: true };

/// The access to each path, rights added up.
struct Rules(BTreeMap<String, PathAccess>);

impl Rules {
    fn add(&mut self, path: &str, access: PathAccess) {
        let rights = self.0.entry(path.to_owned()).or_insert(NOTHING);
        rights.read |= access.read;
        rights.write |= access.write;
        rights.execute |= access.execute;
        rights.ioctl_dev |= access.ioctl_dev;
    }

    /// Adds the file's list if it has one, else the derived one.
    fn add_list<'a>(
        &mut self,
        listed: Option<&[AbsolutePath]>,
        derived: impl IntoIterator<Item = &'a str>,
        access: PathAccess,
    ) {
        match listed {
            Some(paths) => paths.iter().for_each(|path| self.add(path.as_str(), access)),
            None => derived.into_iter().for_each(|path| self.add(path, access)),
        }
    }
}

/// The rules of one container.
pub(super) fn landlock(
    container: &ContainerSpec,
    mounts: &[Mount],
    helper_facts: &HelperFacts,
) -> Result<Landlock, RuleError> {
    check(container, helper_facts)?;
    let policy = &container.security.landlock;
    let mut rules = Rules(BTreeMap::new());
    rules.add_list(policy.read.as_deref(), ["/"], READ);
    rules.add_list(policy.execute.as_deref(), ["/"], EXECUTE);
    rules.add_list(policy.write.as_deref(), writable(container, mounts), WRITE);
    add_fixed_rules(&mut rules, container);
    Ok(Landlock {
        paths: rules.0.into_iter().map(|(path, access)| PathRule { path, access }).collect(),
        bind_tcp: policy.bind_tcp.clone(),
        connect_tcp: policy.connect_tcp.clone(),
        scoped: helper_facts.landlock >= ABI_SCOPE,
    })
}

/// Fails if this kernel cannot enforce a rule; there is no weaker rule instead.
fn check(container: &ContainerSpec, helper_facts: &HelperFacts) -> Result<(), RuleError> {
    let policy = &container.security.landlock;
    if helper_facts.landlock == 0 {
        return Err(RuleError::new(Code::NotEnforceable, "landlock", "this kernel has no landlock").remedy(
            "boot a kernel with CONFIG_SECURITY_LANDLOCK and `landlock` in its lsm= parameter (Linux 5.13 or later)",
        ));
    }
    if helper_facts.landlock < ABI_TCP && (policy.bind_tcp.is_some() || policy.connect_tcp.is_some()) {
        let reason =
            format!("bind_tcp and connect_tcp need landlock ABI {ABI_TCP}, this kernel has {}", helper_facts.landlock);
        return Err(RuleError::new(Code::NotEnforceable, "landlock-tcp", reason)
            .remedy("boot Linux 6.7 or later, or remove the two lists"));
    }
    // A read-only mount does not stop writes to a device node: only the Landlock rule does, and one on `/` would allow them.
    let dev_is_writable = match &policy.write {
        Some(paths) => paths.iter().any(|path| "/dev".starts_with(path.as_str())),
        None => container.root != Root::ReadOnly,
    };
    match container.devices.iter().find(|device| !device.write) {
        Some(device) if dev_is_writable => {
            let reason = format!("{} cannot be read-only where all of `/` is writable", device.target);
            Err(RuleError::new(Code::NotEnforceable, "device-read-only", reason)
                .remedy("use read_only = true, list the paths in security.landlock.write, or give the device \"rw\""))
        }
        _ => Ok(()),
    }
}

/// The paths that the mounts let the payload write.
fn writable<'a>(container: &ContainerSpec, mounts: &'a [Mount]) -> Vec<&'a str> {
    let mut paths: Vec<&str> = mounts
        .iter()
        .filter(|mount| match mount {
            Mount::Tmpfs { .. } => true,
            Mount::Volume { read_only, .. } | Mount::Bind { read_only, .. } => !read_only,
        })
        .map(Mount::target)
        .collect();
    if container.root != Root::ReadOnly {
        paths.push("/");
    }
    paths
}

/// `/proc`, `/dev` and the devices of the file.
fn add_fixed_rules(rules: &mut Rules, container: &ContainerSpec) {
    rules.add("/proc", READ);
    rules.add("/proc", WRITE);
    rules.add("/dev", READ);
    for node in NODES {
        rules.add(node, TERMINAL);
    }
    rules.add("/dev/shm", READ);
    rules.add("/dev/shm", WRITE);
    for device in &container.devices {
        rules.add(device.target.as_str(), if device.write { TERMINAL } else { READ });
    }
}
