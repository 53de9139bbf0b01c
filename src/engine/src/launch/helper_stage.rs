//! Inside casemate-helper.service: from what systemd gives to what the helper takes, and then it is `casemate-helper`.
//!
//! Enters: the helper's user with SETUID and SETGID, a delegated cgroup, the listening socket, perhaps a notification socket.
//! Anything less, and anything more, is an error: a unit that was edited by mistake starts nothing. Leaves: the same process with
//! the listening socket as descriptor 3, the notification socket connected as descriptor 4, in the leaf `helper` of its cgroup
//! (as `DelegateSubgroup=` of systemd 254 does it; this way it is the same on every version), with an empty environment.

use super::delegate::{self, LEAF};
use super::hierarchies::Kind;
use super::start_stage::never_spared;
use super::{Directories, Error, Identities, Units, preload, privilege, spawn};
use crate::notify;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::FdFlags;
use rustix::net::sockopt::{socket_acceptconn, socket_type};
use rustix::net::{SocketAddrUnix, SocketType};
use std::env;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const UNIT: &str = "casemate-helper.service";
/// Where the helper finds its connected notification socket.
const NOTIFY: i32 = 4;

/// Becomes the helper. Returns only what failed.
pub fn run(directories: &Directories) -> Error {
    become_it(directories).err().unwrap_or_else(|| Error::new(UNIT, "execute the helper", "it returned"))
}

/// Before that, in a process of its own: the layers of these stores are made the helper's. `read` gives them, when this process has
/// no capability any more. One store that is not in order is an error, and keeps nobody from the layers of the others.
pub fn lend<E: From<Error>>(
    directories: &Directories,
    read: impl FnOnce() -> Result<Vec<PathBuf>, E>,
) -> Result<(), E> {
    let identities = Identities::of_units()?;
    privilege::expect(identities.helper())?;
    privilege::become_powerless(identities.helper())?;
    let stores = read()?;
    let mut refused = None;
    let mut check = |store: &PathBuf| preload::check(store, &identities).map_err(|error| refused = Some(error)).is_ok();
    let good: Vec<_> = stores.into_iter().filter(|store| check(store)).collect();
    preload::link(&directories.state, &good)?;
    refused.map_or(Ok(()), |error| Err(error.into()))
}

fn become_it(directories: &Directories) -> Result<std::convert::Infallible, Error> {
    casemate_sys::inherited::keep_from_children()
        .map_err(|errno| Error::new(UNIT, "mark inherited descriptors", errno))?;
    let identities = Identities::of_units()?;
    privilege::expect(identities.helper())?;
    privilege::expect_for_helper()?;
    never_spared().map_err(|error| Error::new(UNIT, "give up being spared by the OOM killer", error))?;
    let listener = listener(Units::expect(directories, &identities)?.path())?;
    enter_leaf()?;
    let (notify, pause) = notification()?.unzip();
    let arguments = spawn::arguments(directories, &identities, pause);
    for descriptor in [Some(&listener), notify.as_ref()].into_iter().flatten() {
        rustix::io::fcntl_setfd(descriptor, FdFlags::empty())
            .map_err(|errno| Error::new(UNIT, "keep a socket", errno))?;
    }
    let program = spawn::program()?.with_file_name("casemate-helper");
    let error = Command::new(&program).args(arguments).env_clear().exec();
    Err(Error::at(&program, "execute", error).remedy("install it beside `casemate`"))
}

/// The one socket of sd_listen_fds(3), which must be the one that the manager connects to.
fn listener(path: &Path) -> Result<OwnedFd, Error> {
    let refused =
        |reason: &str| Error::new(UNIT, "take the socket", reason).remedy("start it by casemate-helper.socket");
    let variable = |name| env::var(name).unwrap_or_default();
    if variable("LISTEN_PID") != std::process::id().to_string() || variable("LISTEN_FDS") != "1" {
        return Err(refused("systemd did not hand over exactly one"));
    }
    let socket = casemate_sys::inherited::take(3).map_err(|errno| refused(&errno.to_string()))?;
    let listens = socket_acceptconn(&socket) == Ok(true) && socket_type(&socket) == Ok(SocketType::SEQPACKET);
    let address = rustix::net::getsockname(&socket).ok().and_then(|address| SocketAddrUnix::try_from(address).ok());
    let expected = SocketAddrUnix::new(path).map_err(|errno| Error::at(path, "name", errno))?;
    match listens && address == Some(expected) {
        true => Ok(socket),
        false => Err(refused(&format!("it is not SOCK_SEQPACKET, listening at {}", path.display()))),
    }
}

/// v2 wants processes in leaves, and the helper switches controllers on above its own.
fn enter_leaf() -> Result<(), Error> {
    for hierarchy in delegate::of_this_host()?.into_iter().filter(|hierarchy| hierarchy.kind == Kind::Unified) {
        if hierarchy.own.ends_with(LEAF) {
            continue;
        }
        let leaf = hierarchy.own.join(LEAF);
        let made = match std::fs::create_dir(&leaf) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
            _ => std::fs::write(leaf.join("cgroup.procs"), "0"),
        };
        made.map_err(|error| Error::at(&leaf, "enter the cgroup", error).remedy("the unit needs Delegate=yes"))?;
    }
    Ok(())
}

/// The helper has no environment, so it is told by a descriptor and an argument.
fn notification() -> Result<Option<(OwnedFd, Duration)>, Error> {
    let failed = |step| move |errno| Error::new("NOTIFY_SOCKET", step, errno);
    let Some((mut socket, pause)) = notify::of_environment().map_err(failed("connect"))? else { return Ok(None) };
    if socket.as_raw_fd() != NOTIFY {
        socket = rustix::io::fcntl_dupfd_cloexec(&socket, NOTIFY).map_err(failed("place"))?;
    }
    if socket.as_raw_fd() != NOTIFY {
        return Err(Error::new("NOTIFY_SOCKET", "place", "descriptor 4 is taken"));
    }
    Ok(Some((socket, pause)))
}
