//! An instance under a service manager: casemate-helper.service and casemate.service with what systemd gives them, which is two users,
//! the helper's socket, delegated cgroups, and a socket for the word that everything is up.

use crate::cgroup::{Hierarchies, Subtree};
use crate::failure::{Failure, Result, Step};
use crate::instance::Instance;
use crate::running;
use casemate_engine::control::{self, Request, Response, Responses};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::{self, File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Becomes a unit's process: `$0` is the passwd to see, `$1` the cgroups to enter, the rest a command. Standard input is the socket
/// that it is handed.
const PREPARE: &str = "mount --bind \"$0\" /etc/passwd || exit 1
for procs in $1; do echo $$ >\"$procs\" || exit 1; done
shift
exec 3<&0 </dev/null env -i LISTEN_PID=$$ LISTEN_FDS=1 \"$@\"";
const HELPER_CAPABILITIES: [&str; 3] =
    ["--inh-caps=-all,+setuid,+setgid", "--ambient-caps=+setuid,+setgid", "--bounding-set=-all,+setuid,+setgid"];
const NO_CAPABILITIES: [&str; 2] = ["--inh-caps=-all", "--bounding-set=-all"];
/// How long a start may take before it counts as one that fails.
const PATIENCE: Duration = Duration::from_secs(300);

/// The two services of one instance.
#[derive(Debug)]
pub struct Service<'a> {
    instance: &'a Instance,
    /// Uid of the manager and of the helper.
    users: [u32; 2],
    helper: Child,
    manager: Option<Child>,
    notifications: UnixDatagram,
    _cgroups: Subtree,
}

impl<'a> Service<'a> {
    /// Starts the helper of an instance that has its directories.
    pub fn start(instance: &'a Instance, name: &str) -> Result<Self> {
        let owner = |name: &str| fs::metadata(instance.state().join(name)).map(|directory| directory.uid());
        let users = [owner("blobs").step("find the manager's user")?, owner("layers").step("find the helper's user")?];
        let [manager, helper] = users;
        let passwd = format!("casemate:x:{manager}:{manager}::/:/x\ncasemate-helper:x:{helper}:{helper}::/:/x\n");
        instance.write("passwd", &format!("root:x:0:0::/:/bin/sh\n{passwd}"))?;
        let cgroups = Subtree::make(&Hierarchies::read()?, &format!("casemate-{name}-{}", std::process::id()), helper)?;
        let socket = listen(&instance.path("run-helper"), manager)?;
        let notifications = UnixDatagram::bind(instance.path("notify")).step("make a notification socket")?;
        fs::set_permissions(instance.path("notify"), Permissions::from_mode(0o666)).step("chmod")?;
        notifications.set_read_timeout(Some(PATIENCE)).step("set a timeout")?;
        let procs: Vec<String> = cgroups.servers().iter().map(|path| path.display().to_string()).collect();
        let mut command = unit(instance, &procs.join(" "), helper, &HELPER_CAPABILITIES, &["helper"])?;
        let helper = command.stdin(socket).spawn().step("start the helper")?;
        Ok(Self { instance, users, helper, manager: None, notifications, _cgroups: cgroups })
    }

    /// Starts the manager with a file; the time until it says that everything of the file is up.
    pub fn up(&mut self, file: &Path) -> Result<Duration> {
        let [manager, _] = self.users;
        let file = file.display().to_string();
        let mut command = unit(self.instance, "", manager, &NO_CAPABILITIES, &["supervise", &file])?;
        command.stdin(Stdio::null());
        self.forget_notifications()?;
        let begin = Instant::now();
        self.manager = Some(command.spawn().step("start casemate supervise")?);
        let mut buffer = [0; 4096];
        loop {
            let length = self.notifications.recv(&mut buffer);
            let length = length.step(format_args!("wait for READY=1 (log: {})", self.log().display()))?;
            if buffer.get(..length).is_some_and(|text| text.starts_with(b"READY=1")) {
                return Ok(begin.elapsed());
            }
        }
    }

    /// Drops what an earlier manager has said after its start.
    fn forget_notifications(&self) -> Result<()> {
        self.notifications.set_nonblocking(true).step("change a socket")?;
        while self.notifications.recv(&mut [0; 1]).is_ok() {}
        self.notifications.set_nonblocking(false).step("change a socket")
    }

    /// Asks the manager, as a verb does; the time to the last answer.
    pub fn ask(&self, request: &Request) -> Result<Duration> {
        let begin = Instant::now();
        let mut answers = self.answers(request)?;
        while let Response::Ended { name, code } = answers.next_response().step("ask the manager")? {
            if code != Some(0) {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                return Err(Failure::new(format!("{name} ended with {code:?}"), last));
            }
        }
        Ok(begin.elapsed())
    }

    /// An error that names the first container that does not run, and why.
    pub fn expect_all_running(&self) -> Result<()> {
        let answer = self.answers(&Request::Ps {})?.next_response().step("ask the manager")?;
        let Response::Containers { containers } = answer else {
            return Err(Failure::new("ask the manager", format!("{answer:?}")));
        };
        match containers.iter().find(|container| container.state != "running") {
            Some(other) => {
                let reason = other.failure.as_deref().unwrap_or(&other.state);
                Err(Failure::new(format!("start {} of {}", other.name, containers.len()), reason))
            }
            None => Ok(()),
        }
    }

    fn answers(&self, request: &Request) -> Result<Responses> {
        control::send(&self.instance.run().join("control.sock"), request).step("ask the manager")
    }

    /// Stops every container and the manager; the time until it has ended.
    pub fn down(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        self.ask(&Request::Down {})?;
        if let Some(mut manager) = self.manager.take() {
            manager.wait().step("wait for the manager")?;
        }
        Ok(begin.elapsed())
    }

    /// What both weigh, in KiB.
    pub fn memory(&self) -> Result<f64> {
        running::memory_of(&self.instance.state())
    }

    fn log(&self) -> PathBuf {
        self.instance.path("log")
    }
}

impl Drop for Service<'_> {
    /// The containers end with the helper.
    fn drop(&mut self) {
        for process in self.manager.iter_mut().chain([&mut self.helper]) {
            let _ = process.kill();
            let _ = process.wait();
        }
        // Their processes are killed by now, and leave their cgroups in a moment.
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The helper's socket, where the manager looks for it.
fn listen(directory: &Path, manager: u32) -> Result<OwnedFd> {
    let path = directory.join("helper.sock");
    fs::create_dir(directory).step("make a directory")?;
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).step("socket")?;
    let address = SocketAddrUnix::new(&path).step("name a socket")?;
    rustix::net::bind(&socket, &address).step(format_args!("bind {}", path.display()))?;
    chown(&path, Some(manager), Some(manager)).step("chown")?;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).step("chmod")?;
    rustix::net::listen(&socket, 16).step("listen")?;
    Ok(socket)
}

fn unit(instance: &Instance, procs: &str, user: u32, capabilities: &[&str], words: &[&str]) -> Result<Command> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", PREPARE]);
    command.arg(instance.path("passwd")).arg(procs);
    if words.first() == Some(&"supervise") {
        command.arg(format!("NOTIFY_SOCKET={}", instance.path("notify").display()));
    }
    let user = user.to_string();
    command.args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs"]);
    command.args(capabilities).arg(Instance::program()?).args(words);
    command.arg("--state-dir").arg(instance.state()).arg("--run-dir").arg(instance.run());
    let path = instance.path("log");
    let log = File::options().append(true).create(true).open(&path).step(format_args!("open {}", path.display()))?;
    command.stdout(Stdio::null()).stderr(log);
    Ok(command)
}
