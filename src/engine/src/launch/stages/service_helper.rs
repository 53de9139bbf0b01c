//! The stage of casemate-helper.service: checks what systemd gives to the process, and executes `casemate-helper`.
//!
//! Input: the helper's user with SETUID and SETGID, a delegated cgroup, the listening socket, perhaps a notification socket. Anything
//! less or more is an error, so that a wrongly edited unit starts nothing. Output: the same process with the listening socket as
//! descriptor 3, the notification socket connected as descriptor 4, in the leaf `helper` of its cgroup (as `DelegateSubgroup=` of
//! systemd 254 does it, on every version), with an empty environment.

use super::{Error, reset_oom_score};
use crate::launch::cgroup_delegation::{self, LEAF};
use crate::launch::cgroup_hierarchies::Kind;
use crate::launch::systemd_socket::SystemdSocket;
use crate::launch::{Directories, Identities, helper_process, privilege, read_only_stores};
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
/// The descriptor of the helper's connected notification socket.
const NOTIFY: i32 = 4;

/// Runs this stage. Returns only on an error.
pub fn run(directories: &Directories) -> Error {
    execute(directories).err().unwrap_or_else(|| Error::new(UNIT, "execute the helper", "it returned"))
}

/// ExecStartPre of the unit: links the layers of read-only stores into the helper's directory. `read` returns the stores, and is called
/// after this process has dropped its capabilities. A store that fails its check is an error; the layers of the others are linked.
pub fn link_layers<E: From<Error>>(
    directories: &Directories,
    read: impl FnOnce() -> Result<Vec<PathBuf>, E>,
) -> Result<(), E> {
    let identities = Identities::of_units()?;
    privilege::verify_user(identities.helper())?;
    privilege::drop_privileges(identities.helper())?;
    let stores = read()?;
    let mut refused = None;
    let mut accept =
        |store: &PathBuf| read_only_stores::check(store, &identities).map_err(|error| refused = Some(error)).is_ok();
    let accepted: Vec<_> = stores.into_iter().filter(|store| accept(store)).collect();
    read_only_stores::link_layers(&directories.state, &accepted)?;
    refused.map_or(Ok(()), |error| Err(error.into()))
}

fn execute(directories: &Directories) -> Result<std::convert::Infallible, Error> {
    casemate_sys::inherited::keep_from_children()
        .map_err(|errno| Error::new(UNIT, "mark inherited descriptors", errno))?;
    let identities = Identities::of_units()?;
    privilege::verify_user(identities.helper())?;
    privilege::verify_helper_capabilities()?;
    reset_oom_score().map_err(|error| Error::new(UNIT, "reset oom_score_adj", error))?;
    let listener = listener(SystemdSocket::require_helper(directories, &identities)?.path())?;
    enter_leaf()?;
    let (notify, interval) = notification()?.unzip();
    let arguments = helper_process::arguments(directories, &identities, interval);
    for descriptor in [Some(&listener), notify.as_ref()].into_iter().flatten() {
        rustix::io::fcntl_setfd(descriptor, FdFlags::empty())
            .map_err(|errno| Error::new(UNIT, "keep a socket", errno))?;
    }
    let program = helper_process::program()?.with_file_name("casemate-helper");
    let error = Command::new(&program).args(arguments).env_clear().exec();
    Err(Error::at(&program, "execute", error).remedy("install it beside `casemate`"))
}

/// The one socket of sd_listen_fds(3). It must be the socket that the manager connects to.
fn listener(path: &Path) -> Result<OwnedFd, Error> {
    let refused =
        |reason: &str| Error::new(UNIT, "receive the socket", reason).remedy("start it by casemate-helper.socket");
    let variable = |name| env::var(name).unwrap_or_default();
    if variable("LISTEN_PID") != std::process::id().to_string() || variable("LISTEN_FDS") != "1" {
        return Err(refused("systemd did not pass exactly one"));
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

/// cgroup v2 allows processes in leaves only, and the helper enables controllers above its own leaf.
fn enter_leaf() -> Result<(), Error> {
    for hierarchy in
        cgroup_delegation::hierarchies_of_host()?.into_iter().filter(|hierarchy| hierarchy.kind == Kind::Unified)
    {
        if hierarchy.own.ends_with(LEAF) {
            continue;
        }
        let leaf = hierarchy.own.join(LEAF);
        let entered = match std::fs::create_dir(&leaf) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
            _ => std::fs::write(leaf.join("cgroup.procs"), "0"),
        };
        entered.map_err(|error| Error::at(&leaf, "enter the cgroup", error).remedy("the unit needs Delegate=yes"))?;
    }
    Ok(())
}

/// The notification socket and the watchdog interval. The helper has no environment: it gets a descriptor and an argument.
fn notification() -> Result<Option<(OwnedFd, Duration)>, Error> {
    let failed = |step| move |errno| Error::new("NOTIFY_SOCKET", step, errno);
    let Some((mut socket, interval)) = notify::from_environment().map_err(failed("connect"))? else { return Ok(None) };
    if socket.as_raw_fd() != NOTIFY {
        socket = rustix::io::fcntl_dupfd_cloexec(&socket, NOTIFY).map_err(failed("place"))?;
    }
    if socket.as_raw_fd() != NOTIFY {
        return Err(Error::new("NOTIFY_SOCKET", "place", "descriptor 4 is taken"));
    }
    Ok(Some((socket, interval)))
}
