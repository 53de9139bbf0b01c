//! The helper process of an instance: found, or started in its cgroups as its own user, and ended by the last process that used it.
//!
//! `launch.lock` is held while a helper is looked for, started or ended; `helper.lock`, shared, for as long as it is used.

use super::cgroup_delegation::{self, BUSY_TIMEOUT, Delegation};
use super::stages::helper::{self as stage, HelperArguments};
use super::{Directories, Error, Identities, Lock, quit, secure_path};
use casemate_client::Client;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

const SOCKET: &str = "helper.sock";
const LOG: &str = "helper.log";
/// The file that lists the cgroups of the running helper, for the process that has to remove them.
const CGROUPS: &str = "cgroups";
/// listen(2) backlog: the manager, and a few verbs.
const BACKLOG: i32 = 16;

/// A running helper that this process uses.
#[derive(Debug)]
pub struct LaunchedHelper {
    directories: Directories,
    launch_lock: Lock,
    in_use: Lock,
    child: Option<Child>,
}

impl LaunchedHelper {
    /// Uses the running helper, or starts one.
    pub fn ensure_running(run: &OwnedFd, directories: &Directories, identities: &Identities) -> Result<Self, Error> {
        let open = |name| Lock::open(run, &directories.run, name, identities.manager());
        let failed = |errno| Error::at(&directories.run, "lock", errno);
        let launch_lock = open("launch.lock")?;
        let in_use = open("helper.lock")?;
        launch_lock.exclusive().map_err(failed)?;
        let child = match connect(run) {
            Ok(_) => None,
            Err(Errno::NOENT | Errno::CONNREFUSED) => Some(start(run, directories, identities)?),
            Err(errno) => return Err(Error::at(&directories.helper_socket(), "connect", errno)),
        };
        in_use.shared().map_err(failed)?;
        launch_lock.release().map_err(failed)?;
        Ok(Self { directories: directories.clone(), launch_lock, in_use, child })
    }

    /// Ends the helper if no other process uses it and no container runs.
    pub fn quit_if_unused(mut self, run: &OwnedFd, client: Client) -> Result<(), Error> {
        let failed = |errno| Error::at(&self.directories.run, "lock", errno);
        self.launch_lock.exclusive().map_err(failed)?;
        if !self.in_use.try_exclusive().map_err(failed)? {
            return Ok(());
        }
        if !quit(client).map_err(|error| Error::at(&self.directories.helper_socket(), "end the helper", error))? {
            return Ok(());
        }
        if let Some(child) = &mut self.child {
            // It has closed its connection, so it exits now.
            let _ = child.wait();
        }
        secure_path::remove_file(run, &self.directories.run, SOCKET)?;
        remove_cgroups(run, &self.directories)
    }
}

/// Connects to the helper's socket, through /proc: a socket address has room for 107 bytes of path.
pub fn connect(run: &OwnedFd) -> Result<OwnedFd, Errno> {
    let socket = seqpacket()?;
    rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address(run)?))?;
    Ok(socket)
}

fn seqpacket() -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

fn address(run: &OwnedFd) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", rustix::fd::AsRawFd::as_raw_fd(run)))
}

/// Why the helper ended before it accepted a connection: the last line of its log.
pub fn start_failure(directories: &Directories) -> String {
    let log = std::fs::read(directories.helper_log()).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let last = log.lines().rev().find(|line| !line.trim().is_empty());
    let reason = last.map_or("it ended without a message", str::trim);
    format!("the helper did not start: {reason} (log: {})", directories.helper_log().display())
}

/// Removes the socket and cgroups of an ended helper, and starts a new one.
fn start(run: &OwnedFd, directories: &Directories, identities: &Identities) -> Result<Child, Error> {
    secure_path::remove_file(run, &directories.run, SOCKET)?;
    remove_cgroups(run, directories)?;
    let program = program()?;
    let socket = listen(run, directories, identities)?;
    let candidates =
        cgroup_delegation::candidates(&cgroup_delegation::hierarchies_of_host()?, &instance(&directories.run));
    // Listed before they are made: a start that is killed in between leaves no unknown cgroup.
    let listed: Vec<&Path> = candidates.iter().flat_map(|(_, paths)| paths.iter().map(PathBuf::as_path)).collect();
    write_file(run, directories, CGROUPS, &join_lines(&listed), identities)?;
    let delegation = cgroup_delegation::delegate(&candidates, identities)?;
    let log = create(run, directories, LOG, identities)?;
    let arguments = HelperArguments {
        user: match identities {
            Identities::Service { helper, .. } => Some(*helper),
            Identities::User(_) => None,
        },
        cgroup_procs: delegation.procs_files().collect(),
        helper: program.with_file_name("casemate-helper"),
        state: directories.state.clone(),
        read_only_stores: directories.read_only_stores.clone(),
        arguments: arguments(directories, identities, None),
    };
    let failed = |step| move |error: std::io::Error| Error::at(&directories.helper_log(), step, error);
    Command::new(&program)
        .arg0(stage::NAME)
        .args(arguments.to_arguments())
        .env_clear()
        .stdin(socket)
        .stdout(log.try_clone().map_err(failed("open twice"))?)
        .stderr(log)
        .spawn()
        .map_err(|error| Error::at(&program, "start the helper", error))
}

/// The path of this program; the other programs are in its directory.
pub(super) fn program() -> Result<PathBuf, Error> {
    std::env::current_exe().map_err(|error| Error::new("/proc/self/exe", "find the programs", error))
}

/// The helper's command line. `watchdog`: the interval of its watchdog pings, where a service manager expects them.
pub(super) fn arguments(
    directories: &Directories,
    identities: &Identities,
    watchdog: Option<Duration>,
) -> Vec<OsString> {
    let range = match identities {
        Identities::Service { range, .. } => format!("{}:{}", range.base, range.count),
        Identities::User(_) => "-".to_owned(),
    };
    let notify = watchdog.map_or("-".to_owned(), |interval| interval.as_secs().max(1).to_string());
    let state = directories.state.clone().into();
    let manager = identities.manager().uid.to_string().into();
    [
        "--state-dir".into(),
        state,
        "--manager".into(),
        manager,
        "--range".into(),
        range.into(),
        "--notify".into(),
        notify.into(),
    ]
    .into()
}

/// `casemate-` and a short hash of the run directory: the name of the instance's cgroups.
fn instance(run: &Path) -> String {
    let hash = Sha256::digest(run.as_os_str().as_bytes());
    let short: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("casemate-{short}")
}

fn listen(run: &OwnedFd, directories: &Directories, identities: &Identities) -> Result<OwnedFd, Error> {
    let path = directories.helper_socket();
    let step = |name| {
        let path = path.clone();
        move |errno| Error::at(&path, name, errno)
    };
    let socket = seqpacket().map_err(step("open"))?;
    // bind(2) takes the mode of the socket's inode (unix_bind). Never chmod by name here: the directory is the manager's, and a
    // compromised manager could put another file in the socket's place.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(0o600)).map_err(step("set the mode"))?;
    // No client can connect before listen(2).
    rustix::net::bind(&socket, &address(run).map_err(step("bind"))?).map_err(step("bind"))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(run, SOCKET, flags, Mode::empty()).map_err(step("open"))?;
    let stat = rustix::fs::fstat(&file).map_err(step("stat"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket || stat.st_nlink != 1 {
        return Err(Error::at(&path, "change the owner", "another process has replaced it"));
    }
    let manager = identities.manager();
    rustix::fs::chownat(&file, "", Some(manager.user()), Some(manager.group()), AtFlags::EMPTY_PATH)
        .map_err(step("change the owner"))?;
    rustix::net::listen(&socket, BACKLOG).map_err(step("listen"))?;
    Ok(socket)
}

/// Creates an empty file of the manager's user in the run directory.
fn create(run: &OwnedFd, directories: &Directories, name: &str, identities: &Identities) -> Result<OwnedFd, Error> {
    let path = directories.run.join(name);
    secure_path::remove_file(run, &directories.run, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::CLOEXEC;
    let file = rustix::fs::openat(run, name, flags, Mode::from_raw_mode(0o600))
        .map_err(|errno| Error::at(&path, "create", errno))?;
    let manager = identities.manager();
    rustix::fs::fchown(&file, Some(manager.user()), Some(manager.group()))
        .map_err(|errno| Error::at(&path, "change the owner", errno))?;
    Ok(file)
}

fn write_file(
    run: &OwnedFd,
    directories: &Directories,
    name: &str,
    text: &[u8],
    identities: &Identities,
) -> Result<(), Error> {
    let file = create(run, directories, name, identities)?;
    match rustix::io::write(&file, text) {
        Ok(length) if length == text.len() => Ok(()),
        Ok(_) => Err(Error::at(&directories.run.join(name), "write", "the file system is full")),
        Err(errno) => Err(Error::at(&directories.run.join(name), "write", errno)),
    }
}

fn join_lines(paths: &[&Path]) -> Vec<u8> {
    paths.iter().flat_map(|path| path.as_os_str().as_bytes().iter().chain(b"\n")).copied().collect()
}

/// Removes the cgroups of an ended helper. The manager's user can write the list: a line is accepted only if it is a cgroup of this
/// instance in a hierarchy of this host.
fn remove_cgroups(run: &OwnedFd, directories: &Directories) -> Result<(), Error> {
    let path = directories.run.join(CGROUPS);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(run, CGROUPS, flags, Mode::empty()) {
        Ok(file) => std::fs::File::from(file),
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(Error::at(&path, "open", errno)),
    };
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(file, 64 * 1024), &mut text)
        .map_err(|error| Error::at(&path, "read", error))?;
    let name = instance(&directories.run);
    let hierarchies = cgroup_delegation::hierarchies_of_host()?;
    let is_of_instance = |path: &Path| {
        let normal = !path.components().any(|part| part == std::path::Component::ParentDir);
        let in_parent = path.parent().is_some_and(|parent| parent.ends_with("casemate"));
        let mounted = hierarchies.iter().any(|hierarchy| path.starts_with(&hierarchy.mount));
        normal && in_parent && mounted && path.file_name().is_some_and(|last| last == name.as_str())
    };
    let cgroups = text.lines().map(PathBuf::from).filter(|path| is_of_instance(path) && path.exists()).collect();
    match cgroup_delegation::remove(&Delegation(cgroups)).first() {
        None => secure_path::remove_file(run, &directories.run, CGROUPS),
        Some(left) => {
            Err(Error::at(left, "remove the cgroup", format!("it is still busy after {} s", BUSY_TIMEOUT.as_secs()))
                .remedy("end the processes that its cgroup.procs lists"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_name_depends_on_the_run_directory() {
        assert_eq!(instance(Path::new("/run/casemate")), instance(Path::new("/run/casemate")));
        assert_ne!(instance(Path::new("/run/casemate")), instance(Path::new("/run/casemate2")));
        assert_eq!(instance(Path::new("/run/casemate")).len(), "casemate-".len() + 12);
    }

    #[test]
    fn threat_20_helper_socket_is_writable_for_its_manager_only() {
        use std::os::unix::fs::MetadataExt;
        let base = tempfile::tempdir().unwrap();
        let directories = Directories::new(base.path(), base.path());
        let me =
            super::super::Ids { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        let run = rustix::fs::open(base.path(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let _listening = listen(&run, &directories, &Identities::User(me)).unwrap();
        let socket = std::fs::symlink_metadata(directories.helper_socket()).unwrap();
        assert_eq!((socket.mode() & 0o7777, socket.uid(), socket.gid()), (0o600, me.uid, me.gid));
        connect(&run).unwrap();
    }

    #[test]
    fn forged_list_of_cgroups_removes_nothing() {
        let base = tempfile::tempdir().unwrap();
        let directories = Directories::new(base.path(), base.path());
        let victim = base.path().join("casemate").join(instance(base.path()));
        std::fs::create_dir_all(&victim).unwrap();
        std::fs::write(base.path().join(CGROUPS), format!("{}\n\n/\n../x\n", victim.display())).unwrap();
        let run = rustix::fs::open(base.path(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        remove_cgroups(&run, &directories).unwrap();
        assert!(victim.exists() && !base.path().join(CGROUPS).exists());
    }
}
