//! What systemd does for the two services, as far as they can see it: users, directories as tmpfiles.d has them, the listening
//! socket, a delegated cgroup, the notification sockets. Whether systemd does it is asked in a virtual machine (tests/vm).

use crate::cgroups::Delegated;
use crate::{Instance, Up, place, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The numbers that casemate takes where a host has no such users: so what root does beside the services fits in.
const MANAGER: u32 = 1_879_048_192;
const HELPER: u32 = 1_879_048_193;

/// Standard input is the socket, `$0` the passwd to see, `$1` a cgroup to enter or nothing, `$2` the host's logs or nothing. The
/// OOM killer spares it, as with a unit's `OOMScoreAdjust=`, where this machine lets root do that.
const PREPARE: &str = "mount --bind \"$0\" /etc/passwd || exit 125
if [ -n \"$1\" ]; then echo $$ >\"$1/cgroup.procs\" || exit 125; exec 3<&0; fi
if [ -n \"$2\" ]; then
  mount -t tmpfs none /run && mkdir -p /run/systemd/journal && touch /run/systemd/journal/socket &&
  mount --bind \"$2/journal\" /run/systemd/journal/socket &&
  mkdir /run/dev && touch /run/dev/null /run/dev/log && mount --bind /dev/null /run/dev/null &&
  mount --bind \"$2/syslog\" /run/dev/log && mount --rbind /run/dev /dev || exit 125
fi
shift 2
echo -500 2>/dev/null >/proc/$$/oom_score_adj || true
# As systemd says that standard error is the journal.
exec </dev/null env -i JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) LISTEN_PID=$$ LISTEN_FDS=1 \"$@\"";

/// A service manager of one instance.
#[derive(Debug)]
pub struct Units<'a> {
    instance: &'a Instance,
    cgroup: Delegated,
    listener: OwnedFd,
    helper: UnixDatagram,
    manager: UnixDatagram,
    logs: Option<PathBuf>,
}

impl<'a> Units<'a> {
    /// Prepares everything and starts nothing; needs root.
    pub fn new(instance: &'a Instance) -> Self {
        let directory = |path: PathBuf, uid: u32, gid: u32, mode| {
            fs::create_dir(&path).unwrap();
            chown(&path, Some(uid), Some(gid)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        };
        let state = instance.state();
        directory(state.clone(), 0, 0, 0o711);
        for (owner, names) in
            [(MANAGER, &["blobs", "images", "revisions", "logs"][..]), (HELPER, &["layers", "volumes", "roots"])]
        {
            for name in names {
                directory(state.join(name), owner, owner, 0o700);
            }
        }
        directory(instance.run_directory(), MANAGER, HELPER, 0o710);
        let door = instance.directory().join("run-helper");
        directory(door.clone(), 0, 0, 0o755);
        let name = instance.directory().strip_prefix(place::base()).unwrap().to_str().unwrap();
        let base = place::base().file_name().unwrap().to_str().unwrap();
        let cgroup = Delegated::new(&format!("{base}-{name}"), (HELPER, HELPER));
        let passwd = format!(
            "root:x:0:0::/:/bin/sh\ncasemate:x:{MANAGER}:{MANAGER}::/:/x\ncasemate-helper:x:{HELPER}:{HELPER}::/:/x\n"
        );
        instance.write("passwd", &passwd);
        let socket = door.join("helper.sock");
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&listener, &SocketAddrUnix::new(&socket).unwrap()).unwrap();
        chown(&socket, Some(MANAGER), Some(MANAGER)).unwrap();
        fs::set_permissions(&socket, Permissions::from_mode(0o600)).unwrap();
        rustix::net::listen(&listener, 16).unwrap();
        let notify = |name: &str| {
            let path = instance.directory().join(name);
            let socket = UnixDatagram::bind(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let helper = notify("notify-helper");
        let manager = notify("notify-manager");
        Self { instance, cgroup, listener, helper, manager, logs: None }
    }

    /// Gives managers that are started from now on a journal and a syslog: what they say there can be received here.
    pub fn host_logs(&mut self) -> [UnixDatagram; 2] {
        let logs = self.instance.scratch("host-logs");
        let sockets = ["journal", "syslog"].map(|name| {
            let socket = UnixDatagram::bind(logs.join(name)).unwrap();
            fs::set_permissions(logs.join(name), Permissions::from_mode(0o666)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        self.logs = Some(logs);
        sockets
    }

    /// casemate-helper.service.
    pub fn helper(&self) -> Up {
        self.as_helper(&["helper"])
    }

    /// As above, once it has sent READY=1.
    pub fn helper_ready(&self) -> Up {
        let helper = self.helper();
        self.until_helper_says("READY=1");
        helper
    }

    /// What that unit executes before it.
    pub fn lend(&self, file: &str) -> Up {
        self.as_helper(&["helper", "--lend", file])
    }

    fn as_helper(&self, words: &[&str]) -> Up {
        let user = ["--reuid", &HELPER.to_string(), "--regid", &HELPER.to_string(), "--clear-groups"];
        let capabilities = ["--inh-caps=-all,+setuid,+setgid", "--ambient-caps=+setuid,+setgid"];
        let more = ["--bounding-set=-all,+setuid,+setgid", "--no-new-privs"];
        self.start("notify-helper", true, &[&user[..], &capabilities, &more].concat(), words)
    }

    /// As [`Self::helper`], with the capabilities that are given to setpriv(1).
    pub fn helper_with(&self, options: &[&str]) -> Up {
        let user = ["--reuid", &HELPER.to_string(), "--regid", &HELPER.to_string(), "--clear-groups"];
        self.start("notify-helper", true, &[&user[..], options].concat(), &["helper"])
    }

    /// casemate.service.
    pub fn manager(&self, words: &[&str]) -> Up {
        let user = ["--reuid", &MANAGER.to_string(), "--regid", &MANAGER.to_string(), "--clear-groups"];
        let none = ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"];
        self.start("notify-manager", false, &[&user[..], &none].concat(), words)
    }

    /// The same with a file, once all of it is up.
    pub fn supervise(&self, file: &str) -> Up {
        let manager = self.manager(&["supervise", file]);
        self.until_manager_says("READY=1");
        manager
    }

    fn start(&self, notify: &str, socket: bool, setpriv: &[&str], words: &[&str]) -> Up {
        let directory = self.instance.directory();
        let unified = self.cgroup.directories().iter().find(|path| path.join("cgroup.controllers").exists());
        let cgroup = unified.filter(|_| socket).map(|path| path.display().to_string()).unwrap_or_default();
        let mut command = Command::new("/usr/bin/unshare");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", PREPARE]);
        let logs = self.logs.as_deref().filter(|_| !socket).unwrap_or(Path::new(""));
        command.arg(directory.join("passwd")).arg(cgroup).arg(logs);
        command.arg(format!("NOTIFY_SOCKET={}", directory.join(notify).display())).arg("WATCHDOG_USEC=2000000");
        command.arg("/usr/bin/setpriv").args(setpriv).arg(place::program("casemate")).args(words);
        command.arg("--state-dir").arg(self.instance.state()).arg("--run-dir").arg(self.instance.run_directory());
        if socket {
            command.stdin(Stdio::from(self.listener.try_clone().unwrap()));
        } else {
            command.stdin(Stdio::null());
        }
        Up::start(command)
    }

    /// Waits until the helper has sent this notification.
    pub fn until_helper_says(&self, word: &str) -> String {
        until(&self.helper, word)
    }

    /// Waits until the manager has sent this notification.
    pub fn until_manager_says(&self, word: &str) -> String {
        until(&self.manager, word)
    }

    /// Whether the helper has sent no notification since the last call.
    pub fn helper_is_silent(&self) -> bool {
        receive(&self.helper).is_none()
    }

    /// Drops the notifications of both.
    pub fn forget(&self) {
        for socket in [&self.helper, &self.manager] {
            while receive(socket).is_some() {}
        }
    }
}

fn until(socket: &UnixDatagram, word: &str) -> String {
    poll::until(&format!("the word {word}"), || {
        std::iter::from_fn(|| receive(socket)).find(|message| message.lines().any(|line| line.starts_with(word)))
    })
}

/// The next datagram that waits.
pub fn receive(socket: &UnixDatagram) -> Option<String> {
    let mut buffer = [0; 8192];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
