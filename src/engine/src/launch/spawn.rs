//! The helper of an instance: found, or started in its cgroups under its own identity, and ended by the last who used it.
//!
//! `launch.lock` is held while one is looked for, started or ended; `helper.lock`, shared, for as long as it is used.

use super::delegate::{self, Delegation};
use super::start_stage::{self, Orders};
use super::{Directories, Error, Identities, Lock, quit, walk};
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
/// Where the trees of the running helper are written down, for whoever has to remove them.
const CGROUPS: &str = "cgroups";
/// Connections that may wait: the supervisor, and a few verbs.
const BACKLOG: i32 = 16;

/// The use of a running helper.
#[derive(Debug)]
pub struct Helper {
    directories: Directories,
    launch: Lock,
    used: Lock,
    child: Option<Child>,
}

impl Helper {
    /// Uses the helper that runs, or starts one.
    pub fn ensure(run: &OwnedFd, directories: &Directories, identities: &Identities) -> Result<Self, Error> {
        let open = |name| Lock::open(run, &directories.run, name, identities.manager());
        let failed = |errno| Error::at(&directories.run, "lock", errno);
        let (launch, used) = (open("launch.lock")?, open("helper.lock")?);
        launch.alone().map_err(failed)?;
        let child = match connect(run) {
            Ok(_) => None,
            Err(Errno::NOENT | Errno::CONNREFUSED) => Some(start(run, directories, identities)?),
            Err(errno) => return Err(Error::at(&directories.helper_socket(), "connect", errno)),
        };
        used.shared().map_err(failed)?;
        launch.release().map_err(failed)?;
        Ok(Self { directories: directories.clone(), launch, used, child })
    }

    /// Ends it if nobody else uses it and it has nothing left to do.
    pub fn leave(mut self, run: &OwnedFd, client: Client) -> Result<(), Error> {
        let failed = |errno| Error::at(&self.directories.run, "lock", errno);
        self.launch.alone().map_err(failed)?;
        if !self.used.try_alone().map_err(failed)? {
            return Ok(());
        }
        if !quit(client).map_err(|error| Error::at(&self.directories.helper_socket(), "end the helper", error))? {
            return Ok(());
        }
        if let Some(child) = &mut self.child {
            // Its connection is closed: it is gone or about to be.
            let _ = child.wait();
        }
        walk::remove_file(run, &self.directories.run, SOCKET)?;
        sweep(run, &self.directories)
    }
}

/// Connects to the helper's socket. Through /proc, as a socket's address has room for 107 bytes of path only.
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

/// What the helper said last.
pub fn last_words(directories: &Directories) -> String {
    let log = std::fs::read(directories.helper_log()).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let last = log.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(
        || format!("it has ended and {} is empty", directories.helper_log().display()),
        |line| format!("it has ended: {}", line.trim()),
    )
}

/// Removes what a dead helper left, and starts a new one.
fn start(run: &OwnedFd, directories: &Directories, identities: &Identities) -> Result<Child, Error> {
    walk::remove_file(run, &directories.run, SOCKET)?;
    sweep(run, directories)?;
    let program = program()?;
    let socket = listen(run, directories, identities)?;
    let places = delegate::places(&delegate::of_this_host()?, &instance(&directories.run));
    // Written down before it is made, so that nothing is made that nobody knows of.
    let known: Vec<&Path> = places.iter().flat_map(|(_, trees)| trees.iter().map(PathBuf::as_path)).collect();
    write_file(run, directories, CGROUPS, &join_lines(&known), identities)?;
    let delegation = delegate::delegate(&places, identities)?;
    let log = create(run, directories, LOG, identities)?;
    let orders = Orders {
        user: match identities {
            Identities::Service { helper, .. } => Some(*helper),
            Identities::User(_) => None,
        },
        entrances: delegation.entrances().collect(),
        helper: program.with_file_name("casemate-helper"),
        state: directories.state.clone(),
        preload: directories.preload.clone(),
        arguments: arguments(directories, identities, None),
    };
    let again = |step| move |error: std::io::Error| Error::at(&directories.helper_log(), step, error);
    Command::new(&program)
        .arg0(start_stage::NAME)
        .args(orders.to_arguments())
        .env_clear()
        .stdin(socket)
        .stdout(log.try_clone().map_err(again("open twice"))?)
        .stderr(log)
        .spawn()
        .map_err(|error| Error::at(&program, "start the helper", error))
}

/// The path of this very program; the others lie beside it.
pub(super) fn program() -> Result<PathBuf, Error> {
    std::env::current_exe().map_err(|error| Error::new("/proc/self/exe", "find the programs", error))
}

/// The helper's command line; it gives a sign of life after each pause where somebody waits for one.
pub(super) fn arguments(directories: &Directories, identities: &Identities, notify: Option<Duration>) -> Vec<OsString> {
    let range = match identities {
        Identities::Service { range, .. } => format!("{}:{}", range.base, range.count),
        Identities::User(_) => "-".to_owned(),
    };
    let notify = notify.map_or("-".to_owned(), |pause| pause.as_secs().max(1).to_string());
    let (state, manager) = (directories.state.clone().into(), identities.manager().uid.to_string().into());
    let words = ["--state-dir".into(), state, "--manager".into(), manager, "--range".into(), range.into()];
    words.into_iter().chain(["--notify".into(), notify.into()]).collect()
}

/// `casemate-` and a short hash of the run directory: one instance, one name.
fn instance(run: &Path) -> String {
    let hash = Sha256::digest(run.as_os_str().as_bytes());
    let short: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("casemate-{short}")
}

fn listen(run: &OwnedFd, directories: &Directories, identities: &Identities) -> Result<OwnedFd, Error> {
    let shown = directories.helper_socket();
    let step = |name| {
        let shown = shown.clone();
        move |errno| Error::at(&shown, name, errno)
    };
    let socket = seqpacket().map_err(step("open"))?;
    // The mode is that of the socket before it has a name (unix_bind). The directory is the manager's: what root does there by
    // name could be done to whatever a manager that was taken over puts in the name's place.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(0o600)).map_err(step("set the mode"))?;
    // Nobody can connect before listen.
    rustix::net::bind(&socket, &address(run).map_err(step("bind"))?).map_err(step("bind"))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(run, SOCKET, flags, Mode::empty()).map_err(step("open"))?;
    let stat = rustix::fs::fstat(&made).map_err(step("stat"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket || stat.st_nlink != 1 {
        return Err(Error::at(&shown, "give away", "another process has replaced it"));
    }
    let manager = identities.manager();
    rustix::fs::chownat(&made, "", Some(manager.user()), Some(manager.group()), AtFlags::EMPTY_PATH)
        .map_err(step("give away"))?;
    rustix::net::listen(&socket, BACKLOG).map_err(step("listen"))?;
    Ok(socket)
}

/// A new, empty file of the manager in the run directory.
fn create(run: &OwnedFd, directories: &Directories, name: &str, identities: &Identities) -> Result<OwnedFd, Error> {
    let shown = directories.run.join(name);
    walk::remove_file(run, &directories.run, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::CLOEXEC;
    let file = rustix::fs::openat(run, name, flags, Mode::from_raw_mode(0o600))
        .map_err(|errno| Error::at(&shown, "create", errno))?;
    let manager = identities.manager();
    rustix::fs::fchown(&file, Some(manager.user()), Some(manager.group()))
        .map_err(|errno| Error::at(&shown, "give away", errno))?;
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

/// Removes the cgroups of a helper that is gone. The list lies in a directory of the manager: a line is believed only if it
/// names this instance's tree in a hierarchy of this host.
fn sweep(run: &OwnedFd, directories: &Directories) -> Result<(), Error> {
    let shown = directories.run.join(CGROUPS);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(run, CGROUPS, flags, Mode::empty()) {
        Ok(file) => std::fs::File::from(file),
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(Error::at(&shown, "open", errno)),
    };
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(file, 64 * 1024), &mut text)
        .map_err(|error| Error::at(&shown, "read", error))?;
    let name = instance(&directories.run);
    let hierarchies = delegate::of_this_host()?;
    let ours = |path: &Path| {
        let normal = !path.components().any(|part| part == std::path::Component::ParentDir);
        let house = path.parent().is_some_and(|house| house.ends_with("casemate"));
        let known = hierarchies.iter().any(|hierarchy| path.starts_with(&hierarchy.mount));
        normal && house && known && path.file_name().is_some_and(|last| last == name.as_str())
    };
    let trees = text.lines().map(PathBuf::from).filter(|path| ours(path) && path.exists()).collect();
    match delegate::remove(&Delegation(trees)).first() {
        None => walk::remove_file(run, &directories.run, CGROUPS),
        Some(left) => Err(Error::at(left, "remove the cgroup", "processes are left in it")
            .remedy("end them; cgroup.procs in it lists them")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_its_run_directory() {
        assert_eq!(instance(Path::new("/run/casemate")), instance(Path::new("/run/casemate")));
        assert_ne!(instance(Path::new("/run/casemate")), instance(Path::new("/run/casemate2")));
        assert_eq!(instance(Path::new("/run/casemate")).len(), "casemate-".len() + 12);
    }

    #[test]
    fn threat_20_the_helpers_socket_is_for_its_manager_alone() {
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
    fn a_forged_list_of_cgroups_removes_nothing() {
        let base = tempfile::tempdir().unwrap();
        let directories = Directories::new(base.path(), base.path());
        let victim = base.path().join("casemate").join(instance(base.path()));
        std::fs::create_dir_all(&victim).unwrap();
        std::fs::write(base.path().join(CGROUPS), format!("{}\n\n/\n../x\n", victim.display())).unwrap();
        let run = rustix::fs::open(base.path(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        sweep(&run, &directories).unwrap();
        assert!(victim.exists() && !base.path().join(CGROUPS).exists());
    }
}
