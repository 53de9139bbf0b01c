//! Landlock rules: the same walls as the mounts, held by another part of the kernel.
//!
//! Rules only add up, so what a wide rule allows no narrower one takes back. The fixed part of the room (`/dev`, `/proc`)
//! keeps its rules when the file narrows the rest: a program that cannot open /dev/null is not safer, only broken.

use super::error::RuleError;
use casemate_error::Code;
use casemate_spec::{AbsolutePath, ContainerSpec, Root};
use casemate_wire::{Facts, Landlock, Mount, PathAccess, PathRule};
use std::collections::BTreeMap;

/// The first ABI with TCP rules, and the first with scopes. landlock(7).
const ABI_TCP: u32 = 4;
const ABI_SCOPE: u32 = 6;

/// Nodes that every container has; reading and writing them, and asking whether they are a terminal, changes nothing.
const NODES: &[&str] = &["/dev/full", "/dev/null", "/dev/pts", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"];

const NOTHING: PathAccess = PathAccess { read: false, write: false, execute: false, ioctl_dev: false };
const READ: PathAccess = PathAccess { read: true, ..NOTHING };
const WRITE: PathAccess = PathAccess { write: true, ..NOTHING };
const EXECUTE: PathAccess = PathAccess { execute: true, ..NOTHING };
const TERMINAL: PathAccess = PathAccess { read: true, write: true, execute: false, ioctl_dev: true };

/// Paths and what may be done there; each path once, rights added up.
struct Rules(BTreeMap<String, PathAccess>);

impl Rules {
    fn add(&mut self, path: &str, access: PathAccess) {
        let held = self.0.entry(path.to_owned()).or_insert(NOTHING);
        held.read |= access.read;
        held.write |= access.write;
        held.execute |= access.execute;
        held.ioctl_dev |= access.ioctl_dev;
    }

    /// The file's list where it has one, else the derived one.
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
pub(super) fn landlock(container: &ContainerSpec, mounts: &[Mount], facts: &Facts) -> Result<Landlock, RuleError> {
    check(container, facts)?;
    let asked = &container.security.landlock;
    let mut rules = Rules(BTreeMap::new());
    rules.add_list(asked.read.as_deref(), ["/"], READ);
    rules.add_list(asked.execute.as_deref(), ["/"], EXECUTE);
    rules.add_list(asked.write.as_deref(), writable(container, mounts), WRITE);
    fixed(&mut rules, container);
    Ok(Landlock {
        paths: rules.0.into_iter().map(|(path, access)| PathRule { path, access }).collect(),
        bind_tcp: asked.bind_tcp.clone(),
        connect_tcp: asked.connect_tcp.clone(),
        scoped: facts.landlock >= ABI_SCOPE,
    })
}

/// What this kernel cannot hold is an error, never a weaker rule.
fn check(container: &ContainerSpec, facts: &Facts) -> Result<(), RuleError> {
    let asked = &container.security.landlock;
    if facts.landlock == 0 {
        return Err(RuleError::new(Code::NotEnforceable, "landlock", "this kernel has no landlock")
            .remedy("start a kernel with CONFIG_SECURITY_LANDLOCK and `landlock` in its lsm= parameter (Linux 5.13)"));
    }
    if facts.landlock < ABI_TCP && (asked.bind_tcp.is_some() || asked.connect_tcp.is_some()) {
        let reason =
            format!("bind_tcp and connect_tcp need landlock abi {ABI_TCP}, this kernel has {}", facts.landlock);
        return Err(RuleError::new(Code::NotEnforceable, "landlock-tcp", reason)
            .remedy("start Linux 6.7 or later, or remove the two lists"));
    }
    // A device node can be opened for writing on a read-only mount: only the rule holds it, and one on `/` would give it back.
    let everywhere = match &asked.write {
        Some(paths) => paths.iter().any(|path| "/dev".starts_with(path.as_str())),
        None => container.root != Root::ReadOnly,
    };
    match container.devices.iter().find(|device| !device.write) {
        Some(device) if everywhere => {
            let reason = format!("{} cannot be held read-only where all of `/` may be written", device.target);
            Err(RuleError::new(Code::NotEnforceable, "device-read-only", reason)
                .remedy("use read_only = true, list the paths in security.landlock.write, or give the device \"rw\""))
        }
        _ => Ok(()),
    }
}

/// What the mounts let the payload write.
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
fn fixed(rules: &mut Rules, container: &ContainerSpec) {
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
