//! Where mounts and devices may come from and go to.

use crate::finding::{Findings, quoted};
use crate::item::At;
use crate::keys::container as keys;
use crate::model::MountSource;
use crate::rules;
use crate::types::TmpfsMount;
use crate::values::AbsolutePath;
use crate::view::View;
use std::ops::Range;

/// Paths of the host that no bind shows: these, all below them, and all above them. Each with its reason.
static HOST_PATHS: &[(&str, &str)] = &[
    ("/proc", "a kernel file system"),
    ("/sys", "a kernel file system"),
    ("/dev", "the host's devices"),
    ("/boot", "the host's kernel"),
    ("/root", "root's home"),
    ("/etc/shadow", "the host's passwords"),
    ("/etc/gshadow", "the host's passwords"),
    ("/etc/ssh", "the host's keys"),
    ("/etc/casemate", "casemate's own configuration"),
    ("/var/lib/casemate", "casemate's own state"),
    ("/run/casemate", "casemate's own sockets"),
    ("/run/systemd", "the host's service manager"),
    ("/run/dbus", "the host's bus"),
    ("/run/docker", "a container runtime that can start anything"),
    ("/run/containerd", "a container runtime that can start anything"),
    ("/run/podman", "a container runtime that can start anything"),
    ("/run/crio", "a container runtime that can start anything"),
    ("/var/lib/docker", "a container runtime's state"),
    ("/var/lib/containerd", "a container runtime's state"),
    ("/var/lib/containers", "a container runtime's state"),
    ("/var/run", "a link to /run"),
];

/// Sockets of container runtimes, wherever they are.
static RUNTIME_SOCKETS: &[&str] = &["docker.sock", "containerd.sock", "podman.sock", "crio.sock"];

/// Devices that give access to the host's memory, log, terminals or input; a name stands for the numbered ones too.
static HOST_DEVICES: &[&str] =
    &["mem", "kmem", "port", "kmsg", "console", "tty", "vcs", "vcsa", "vcsu", "ptmx", "pts", "uinput", "fd", "shm"];

/// What every container has in its /dev.
static OWN_DEVICES: &[&str] = &[
    "null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm", "mqueue", "fd", "stdin",
    "stdout", "stderr", "core",
];

/// Checks the mounts and devices of one container.
pub(super) fn validate(container: &View<'_>, out: &mut Findings<'_>) {
    let mut targets = mount_targets(container);
    for At { value, span } in &targets {
        target(value, span, out);
    }
    for source in sources(container) {
        if let MountSource::Bind(path) = &source.value {
            bind_source(path, &source.span, out);
        }
    }
    for device in container.tables(&keys::DEVICES, &keys::DEVICE) {
        device_paths(&device, out);
        targets.extend(device.get(&keys::DEVICE_TARGET).map(|value| At { value, span: device.span.clone() }));
    }
    overlaps(&mut targets, out);
}

/// Where the mounts of a container go to, right or wrong otherwise.
fn mount_targets(container: &View<'_>) -> Vec<At<AbsolutePath>> {
    let strings = container.own(&keys::TMPFS).and_then(|item| item.as_array()).unwrap_or_default();
    let tmpfs = strings.iter().filter_map(|item| Some(item.at(TmpfsMount::target(item)?)));
    let tables = container.tables(&keys::VOLUMES, &keys::MOUNT);
    tmpfs.chain(tables.iter().filter_map(|mount| mount.stated(&keys::MOUNT_TARGET))).collect()
}

/// Where the volumes and binds of a container come from.
pub(super) fn sources(container: &View<'_>) -> Vec<At<MountSource>> {
    let source = |mount: &View<'_>| {
        let item = mount.own(&keys::MOUNT_SOURCE)?;
        let source = MountSource::read(mount.get(&keys::MOUNT_TYPE)?, &item, &mut Findings::silent())?;
        Some(item.at(source))
    };
    container.tables(&keys::VOLUMES, &keys::MOUNT).iter().filter_map(source).collect()
}

fn target(path: &AbsolutePath, span: &Range<usize>, out: &mut Findings<'_>) {
    let kernel = ["/proc", "/sys", "/dev"].into_iter().find(|kernel| path.is_at_or_below(kernel));
    let message = match kernel {
        None if path.as_str() == "/" => "nothing can be mounted over the root".to_owned(),
        None => return,
        Some(kernel) => format!("nothing can be mounted at or below {kernel}: casemate alone fills it"),
    };
    let help = match path.as_str() {
        "/dev/shm" => Some("`shm_size` sets the size of /dev/shm"),
        "/sys" => Some("`sysfs = true` mounts it, read-only"),
        "/" => Some("`read_only = false` with a `writable_root` makes the root writable"),
        _ if kernel == Some("/dev") => Some("`devices` gives a device node"),
        _ => None,
    };
    out.add(&rules::MOUNT_TARGET, span, message).help_if(|| help.map(str::to_owned));
}

/// The remedy for a bind of too much of the host.
const OWN_DIRECTORY: &str = "put the files that the container needs into a directory of their own";

fn bind_source(source: &AbsolutePath, span: &Range<usize>, out: &mut Findings<'_>) {
    let path = source.as_str();
    let at_or_below = HOST_PATHS.iter().find(|(host, _)| source.is_at_or_below(host));
    let above = HOST_PATHS
        .iter()
        .find(|(host, _)| host.strip_prefix(path).is_some_and(|rest| path == "/" || rest.starts_with('/')));
    let is_socket = RUNTIME_SOCKETS.iter().any(|socket| path.rsplit('/').next() == Some(*socket));
    let (message, help) = match (at_or_below, above) {
        _ if is_socket => (
            format!("{} lets a container start any program as root", quoted(path)),
            "remove the mount: no container gets the socket of a container runtime",
        ),
        (Some(("/dev", what)), _) => {
            (format!("{} cannot be shown to a container: {what}", quoted(path)), "`devices` gives a device node")
        }
        (Some((_, what)), _) => (format!("{} cannot be shown to a container: {what}", quoted(path)), OWN_DIRECTORY),
        (None, Some((host, what))) => {
            (format!("{} cannot be shown to a container: {host} lies in it, {what}", quoted(path)), OWN_DIRECTORY)
        }
        (None, None) => return,
    };
    out.add(&rules::BIND_SOURCE, span, message).help(help);
}

fn device_paths(device: &View<'_>, out: &mut Findings<'_>) {
    let mut check = |path: AbsolutePath, refused: fn(&str) -> bool, why: &str, help: &str| {
        let name = path.as_str().strip_prefix("/dev/").and_then(|rest| rest.split('/').next());
        let (why, help) = match name {
            None => ("does not lie below /dev", "a file or directory is mounted by `volumes`"),
            Some(name) if refused(name) => (why, help),
            Some(_) => return,
        };
        out.add(&rules::DEVICE_PATH, &device.span, format!("{} {why}", quoted(path.as_str()))).help(help);
    };
    if let Some(source) = device.get(&keys::DEVICE_SOURCE) {
        let opens = |name: &str| HOST_DEVICES.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit()));
        check(source, opens, "gives access to the whole host", "no container can have this device");
    }
    if let Some(target) = device.get(&keys::DEVICE_TARGET) {
        let own = |name: &str| OWN_DEVICES.contains(&name);
        check(target, own, "is in every container already", "remove the entry, or choose another target");
    }
}

/// No target twice, and none below another one.
fn overlaps(targets: &mut [At<AbsolutePath>], out: &mut Findings<'_>) {
    // Sorted by parts, so that a path is followed by all that lies below it (a plain sort has `/a-b` between `/a` and `/a/b`).
    targets.sort_by(|a, b| {
        let parts = a.value.as_str().split('/').cmp(b.value.as_str().split('/'));
        parts.then(a.span.start.cmp(&b.span.start))
    });
    let mut above: Option<&At<AbsolutePath>> = None;
    for target in targets.iter() {
        let path = &target.value;
        match above {
            Some(outer) if outer.value == *path => {
                let message = format!("{} is the target of another mount or device already", quoted(path.as_str()));
                out.add(&rules::MOUNT_DUPLICATE, &target.span, message)
                    .related(&outer.span, "the other one")
                    .help("remove one of the two, or choose another target");
            }
            // A mount on the root is refused for itself, and everything lies below it.
            Some(outer) if outer.value.as_str() != "/" && path.is_at_or_below(outer.value.as_str()) => {
                let message =
                    format!("{} lies below the mount on {}", quoted(path.as_str()), quoted(outer.value.as_str()));
                out.add(&rules::MOUNT_NESTED, &target.span, message)
                    .related(&outer.span, "the outer mount")
                    .help("mount both beside each other: with nested mounts the result would depend on their order");
            }
            _ => above = Some(target),
        }
    }
}
