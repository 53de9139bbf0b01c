//! Where mounts and devices may come from and go to.

use crate::cursor::At;
use crate::finding::{Findings, quoted};
use crate::nearest::did_you_mean;
use crate::raw::{RawContainer, RawDevice, RawSource, RawSpec};
use crate::rules;
use crate::values::AbsolutePath;
use std::collections::BTreeSet;
use std::ops::Range;

/// What a bind never shows, nor anything below it, nor anything that it lies below.
static HOST_ROOMS: &[(&str, &str)] = &[
    ("/proc", "a kernel file system"),
    ("/sys", "a kernel file system"),
    ("/dev", "the host's devices: use `devices`"),
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

/// Devices that open the host's memory, log, terminals or display to whoever has them; a name stands for its numbered ones too.
static HOST_DEVICES: &[&str] =
    &["mem", "kmem", "port", "kmsg", "console", "tty", "vcs", "vcsa", "vcsu", "ptmx", "pts", "uinput", "fd", "shm"];

/// What every container has in its /dev anyway.
static OWN_DEVICES: &[&str] = &[
    "null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm", "mqueue", "fd", "stdin",
    "stdout", "stderr", "core",
];

/// Checks the mounts and devices of one container.
pub(super) fn validate(container: &RawContainer, out: &mut Findings<'_>) {
    for mount in &container.mounts {
        if let Some(At { value, span }) = &mount.target {
            target(value, span, out);
        }
        if let Some(At { value: RawSource::Bind(source), span }) = &mount.source {
            bind_source(source, span, out);
        }
    }
    for device in &container.devices {
        device_paths(device, out);
    }
    let mounts =
        container.mounts.iter().filter_map(|mount| mount.target.as_ref()).map(|target| (&target.value, &target.span));
    let devices = container.devices.iter().filter_map(|device| Some((device.target.as_ref()?, &device.span)));
    overlaps(mounts.chain(devices).collect(), out);
}

fn target(path: &AbsolutePath, span: &Range<usize>, out: &mut Findings<'_>) {
    let room = ["/proc", "/sys", "/dev"].into_iter().find(|room| path.is_at_or_below(room));
    let message = match room {
        None if path.as_str() == "/" => "nothing is mounted over the root".to_owned(),
        None => return,
        Some(room) => format!("nothing is mounted at or below {room}: casemate alone fills it"),
    };
    let help = match path.as_str() {
        "/dev/shm" => Some("`shm_size` sets the size of /dev/shm"),
        "/sys" => Some("`sysfs = true` mounts it, read-only"),
        "/" => Some("`read_only = false` with a `writable_root` makes the root writable"),
        _ if room == Some("/dev") => Some("`devices` gives a device node"),
        _ => None,
    };
    out.add(&rules::MOUNT_TARGET, span, message).help_if(|| help.map(str::to_owned));
}

fn bind_source(source: &AbsolutePath, span: &Range<usize>, out: &mut Findings<'_>) {
    let room = HOST_ROOMS.iter().find(|(room, _)| source.is_at_or_below(room));
    let inside = HOST_ROOMS.iter().find(|(room, _)| {
        room.strip_prefix(source.as_str()).is_some_and(|rest| source.as_str() == "/" || rest.starts_with('/'))
    });
    let socket = RUNTIME_SOCKETS.iter().find(|socket| source.as_str().rsplit('/').next() == Some(**socket));
    let message = if socket.is_some() {
        format!("{} starts anything as root for whoever can write to it", quoted(source.as_str()))
    } else if let Some((_, what)) = room {
        format!("{} is not shown to a container: {what}", quoted(source.as_str()))
    } else if let Some((room, what)) = inside {
        format!("{} is too much to show to a container: {room} is in it, {what}", quoted(source.as_str()))
    } else {
        return;
    };
    out.add(&rules::BIND_SOURCE, span, message);
}

fn device_paths(device: &RawDevice, out: &mut Findings<'_>) {
    let mut end = |path: &AbsolutePath, refused: fn(&str) -> bool, why: &str| {
        let name = path.as_str().strip_prefix("/dev/").and_then(|rest| rest.split('/').next());
        let why = match name {
            None => "does not lie below /dev",
            Some(name) if refused(name) => why,
            Some(_) => return,
        };
        out.add(&rules::DEVICE_PATH, &device.span, format!("{} {why}", quoted(path.as_str())));
    };
    if let Some(source) = &device.source {
        let opens = |name: &str| HOST_DEVICES.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit()));
        end(source, opens, "would open the host to the container");
    }
    if let Some(target) = &device.target {
        end(target, |name| OWN_DEVICES.contains(&name), "is there in every container already");
    }
}

/// No target twice, and none below another one.
fn overlaps(mut targets: Vec<(&AbsolutePath, &Range<usize>)>, out: &mut Findings<'_>) {
    // Sorted by parts, so that a path is followed by all that lies below it (a plain sort has `/a-b` between `/a` and `/a/b`).
    targets.sort_by(|(a, x), (b, y)| a.as_str().split('/').cmp(b.as_str().split('/')).then(x.start.cmp(&y.start)));
    let mut above: Option<(&AbsolutePath, &Range<usize>)> = None;
    for (path, span) in targets {
        match above {
            Some((outer, first)) if outer == path => {
                out.add(&rules::MOUNT_DUPLICATE, span, format!("{} has a mount already", quoted(path.as_str())))
                    .related(first, "here");
            }
            // A root target is refused for itself; all else lies below it.
            Some((outer, first)) if outer.as_str() != "/" && path.is_at_or_below(outer.as_str()) => {
                let (path, outer) = (quoted(path.as_str()), quoted(outer.as_str()));
                out.add(&rules::MOUNT_NESTED, span, format!("{path} lies below the mount on {outer}"))
                    .related(first, "this is the outer one");
            }
            _ => above = Some((path, span)),
        }
    }
}

/// Named volumes: each mount's is in the file, each is one user's, each is used.
pub(super) fn volumes(spec: &RawSpec, out: &mut Findings<'_>) {
    let mut used = BTreeSet::new();
    let mut first_user = std::collections::BTreeMap::new();
    for container in &spec.containers {
        for mount in &container.mounts {
            let Some(At { value: RawSource::Volume(source), span: at }) = &mount.source else { continue };
            used.insert(source);
            if !spec.volumes.iter().any(|volume| volume.name.value == *source) {
                let names = spec.volumes.iter().map(|volume| volume.name.value.as_str());
                let add = format!("add `[volumes.{source}]`");
                out.add(&rules::VOLUME_UNKNOWN, at, format!("there is no volume `{source}` in the file"))
                    .help_if(|| Some(did_you_mean(source.as_str(), names).unwrap_or(add)));
            }
            let Some(user) = &container.user else { continue };
            let (first, span) = first_user.entry(source).or_insert((user.value, at));
            if *first != user.value {
                out.add(
                    &rules::VOLUME_SHARED,
                    at,
                    format!("the volume `{source}` belongs to another container's user"),
                )
                .related(span, "used by that one here")
                .help("give both the same user and say so with `share_user_with`, or use two volumes");
            }
        }
    }
    for volume in spec.volumes.iter().filter(|volume| !used.contains(&volume.name.value)) {
        let name = &volume.name.value;
        out.absent(&rules::VOLUME_UNUSED, &volume.name.span, format!("no container mounts the volume `{name}`"));
    }
}
