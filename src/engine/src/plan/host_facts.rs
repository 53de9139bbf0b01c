//! Facts of the host besides the helper's, read once, so that the plan is a pure function.

use super::error::{Error, RuleError};
use casemate_error::Code;
use casemate_spec::{ContainerSpec, Mount, Seccomp};
use casemate_wire::Digest;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The largest profile, in bytes.
const MAX_PROFILE: u64 = 1 << 20;
/// A running manager is confined to the directory of its file.
const UNREADABLE: &str =
    "let the manager's user read it; a profile outside the file's directory needs a restart, not a reload";

/// Facts of the host for one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    /// The text of the container's own seccomp profile, with the pinned digest.
    pub profile: Option<String>,
    /// Major and minor numbers of the block devices in `resources.io`.
    pub devices: BTreeMap<String, (u32, u32)>,
    /// The number of CPUs that this host can have.
    pub cpus: u32,
}

/// Facts of the host for all containers. Read them before the manager confines itself: it cannot read sysfs afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Major and minor number of each block device, by name: a service has a private /dev without disks.
    disks: BTreeMap<String, (u32, u32)>,
    cpus: u32,
}

impl HostFacts {
    /// Reads sysfs; unreadable entries are left out.
    pub fn read() -> Self {
        let names = std::fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
        let disk = |entry: std::fs::DirEntry| {
            let text = std::fs::read_to_string(entry.path().join("dev")).ok()?;
            let (major, minor) = text.trim().split_once(':')?;
            Some((entry.file_name().into_string().ok()?, (major.parse().ok()?, minor.parse().ok()?)))
        };
        Self { disks: names.filter_map(disk).collect(), cpus: cpus() }
    }

    fn disk(&self, path: &str) -> Option<(u32, u32)> {
        self.disks.get(path.strip_prefix("/dev/")?).copied()
    }
}

impl ContainerFacts {
    /// Reads the facts; `directory`: that of the file, to which a profile's path may be relative.
    pub fn read(container: &ContainerSpec, directory: &Path, host: &HostFacts) -> Result<Self, Error> {
        let profile = custom_profile(container, directory).map_err(|error| error.for_container(&container.name))?;
        let devices = container.resources.io.iter().map(|limit| {
            let path = limit.device.as_str();
            Ok((path.to_owned(), block_device(path, host).map_err(|error| error.for_container(&container.name))?))
        });
        Ok(Self { profile, devices: devices.collect::<Result<_, Error>>()?, cpus: host.cpus })
    }
}

/// Bind sources and devices of a container that this host does not have. Notes, not errors: the host that checks a file need not be the
/// one that runs it.
pub fn missing_on_host(container: &ContainerSpec) -> Vec<String> {
    let binds = container.mounts.iter().filter_map(|mount| match mount {
        Mount::Bind { source, .. } => Some(("bind source", source.as_str())),
        Mount::Tmpfs { .. } | Mount::Volume { .. } => None,
    });
    let devices = container.devices.iter().map(|device| ("device", device.source.as_str()));
    let mut notes = Vec::new();
    for (kind, path) in binds.chain(devices) {
        // Opened as the helper does. Other errors are not reported.
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let relative = path.trim_start_matches('/');
        let found = root.and_then(|root| rustix::fs::openat2(root, relative, flags, Mode::empty(), resolve));
        let reason = match found {
            Err(Errno::NOENT | Errno::NOTDIR) => "does not exist",
            Err(Errno::LOOP) => "passes a symbolic link",
            _ => continue,
        };
        notes.push(format!(
            "container `{}`: {kind} {path} {reason} on this host; a start here would fail",
            container.name
        ));
    }
    notes
}

/// The text of the container's own seccomp profile, if it has one.
pub(super) fn custom_profile(container: &ContainerSpec, directory: &Path) -> Result<Option<String>, RuleError> {
    match &container.security.seccomp {
        Seccomp::File { profile, sha256 } => read_profile(&directory.join(profile), sha256).map(Some),
        Seccomp::Service | Seccomp::Minimal => Ok(None),
    }
}

/// Reads a profile and verifies its digest.
fn read_profile(path: &Path, expected: &Digest) -> Result<String, RuleError> {
    let refuse = |reason: String| RuleError::spec("seccomp-profile", format!("{}: {reason}", path.display()));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => refuse(error.to_string()).remedy(UNREADABLE),
        _ => refuse(error.to_string()),
    })?;
    file.take(MAX_PROFILE + 1).read_to_end(&mut bytes).map_err(|error| refuse(error.to_string()))?;
    if bytes.len() as u64 > MAX_PROFILE {
        return Err(refuse(format!("longer than {MAX_PROFILE} bytes")));
    }
    let found = Digest::from_bytes(Sha256::digest(&bytes).into());
    if found != *expected {
        let reason = format!("{} has digest {found}, the file pins {expected}", path.display());
        return Err(RuleError::new(Code::Verification, "seccomp-profile", reason)
            .remedy("review the profile and pin its new digest"));
    }
    String::from_utf8(bytes).map_err(|_| refuse("not text in UTF-8".to_owned()))
}

/// Major and minor number of a block device.
fn block_device(path: &str, host: &HostFacts) -> Result<(u32, u32), RuleError> {
    let refuse = |reason: &str| {
        RuleError::spec("io-device", format!("{path}: {reason}")).remedy("name a block device of this host")
    };
    let stat = match rustix::fs::stat(path) {
        Err(Errno::NOENT) => return host.disk(path).ok_or_else(|| refuse(&Errno::NOENT.to_string())),
        stat => stat.map_err(|errno| refuse(&errno.to_string()))?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Err(refuse("not a block device"));
    }
    Ok((rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)))
}

/// The number of CPUs that can ever be online (from a list as `0-3`); 1 if sysfs does not say.
fn cpus() -> u32 {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").ok();
    let last = possible.as_deref().and_then(|text| text.trim().rsplit(['-', ',']).next()?.parse::<u32>().ok());
    last.map_or(1, |last| last.saturating_add(1).min(4096))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_device_has_the_same_number_in_sysfs_and_dev() {
        let host = HostFacts::read();
        for (name, kernel) in &host.disks {
            let path = format!("/dev/{name}");
            if Path::new(&path).exists() {
                assert_eq!(block_device(&path, &HostFacts::default()).unwrap(), *kernel, "{path}");
            }
            assert_eq!(host.disk(&path), Some(*kernel));
        }
        for bad in ["/dev/", "/dev/../etc", "/dev/null", "sda", "/dev/no-such-disk"] {
            assert_eq!(host.disk(bad), None, "{bad}");
        }
    }
}
