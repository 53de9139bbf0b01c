//! Paths of the container, resolved on the bare root before anything is mounted there: mount targets, three files of `/etc`, the
//! working directory.

use super::Start;
use crate::{paths, volumes};
use casemate_confine::{At, Error};
use casemate_wire::Mount;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

/// The target of a mount, and its source.
pub struct Target {
    /// What is bound: a volume or a path of the host. `None` for a tmpfs.
    pub source: Option<OwnedFd>,
    /// The mount point in the root.
    pub place: OwnedFd,
}

pub fn targets(start: &mut Start<'_>) -> Result<(), Error> {
    for mount in &start.job.rootfs.mounts {
        let source = match mount {
            Mount::Tmpfs { .. } => None,
            Mount::Volume { name, .. } => {
                Some(volumes::open_or_create(&start.setup.shared.state, name, start.setup.outer_ids())?)
            }
            Mount::Bind { source, .. } => Some(paths::host_path(source)?),
        };
        let path = mount.target().trim_start_matches('/');
        let on_directory = source.as_ref().map_or(Ok(true), paths::is_directory).at(mount.target())?;
        let place =
            if on_directory { paths::directory(start.root()?, path)? } else { paths::file(start.root()?, path)? };
        start.state.targets.push(Target { source, place });
    }
    Ok(())
}

pub fn files(start: &mut Start<'_>) -> Result<(), Error> {
    let network = &start.job.network;
    let hostname = format!("{}\n", network.hostname);
    let etc = paths::directory(start.root()?, "etc")?;
    let files = [
        ("hosts", network.hosts.as_slice()),
        ("hostname", hostname.as_bytes()),
        ("resolv.conf", network.resolv_conf.as_slice()),
    ];
    for (name, content) in files {
        // A file or link of the image is replaced and never followed.
        match unlinkat(&etc, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).at(format_args!("/etc/{name}")),
        }
        let file = paths::create(&etc, name, 0o644).at(format_args!("/etc/{name}"))?;
        File::from(file).write_all(content).at(format_args!("/etc/{name}"))?;
    }
    Ok(())
}

pub fn workdir(start: &mut Start<'_>) -> Result<(), Error> {
    let path = start.job.process.cwd.trim_start_matches('/');
    // Links of the image are followed within the root; only a missing directory is created.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat2(start.root()?, if path.is_empty() { "." } else { path }, flags, Mode::empty(), resolve) {
        Err(Errno::NOENT) => paths::directory(start.root()?, path).map(drop),
        other => other.map(drop).at(format_args!("/{path}")),
    }
}
