//! What a new process does between clone3 and execve: two ordered lists of steps over the same functions.
//!
//! [`Start`] makes a container: enters a checked job, in a process that is root of A, in new pid, mount, network, ipc and uts
//! namespaces. [`Enter`] adds a process to a container that runs: enters its confinement as the helper has kept it. Both leave the
//! program, or a [`Failure`] that names the step. Nothing of a step outlives a failure: the process ends, and the namespaces that
//! it made end with it.

mod boundary;
pub(crate) mod dev;
mod identity;
mod launch;
mod mounts;
mod namespaces;
mod procfs;
mod root;
mod targets;

use crate::Shared;
use crate::cgroup::Cgroup;
use casemate_confine::{At, Error, process};
use casemate_sys::network;
use casemate_wire::{Confinement, Failure, IdSpace, Job, Process, decode};
pub use namespaces::forked;
use rustix::fs::{Gid, Uid};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One step: its name in errors and documents, what it does, and the code.
type Step<Code> = (&'static str, &'static str, Code);
type StartCode = fn(&mut Start<'_>) -> Result<(), Error>;
type EnterCode = fn(&mut Enter<'_>) -> Result<(), Error>;
type ConfineCode = fn(&Setup<'_>) -> Result<(), Error>;

/// Every start takes these steps in this order, then those of [`CONFINE`].
const START: &[Step<StartCode>] = &[
    ("session", "new session, umask 022, default signal actions", |_| boundary::session()),
    ("network", "bring up loopback in the empty network namespace", |_| network::loopback_up().at("lo")),
    ("hostname", "set the host name in the uts namespace", boundary::hostname),
    ("cgroup", "join the cgroup v1 hierarchies that hold limits (v2: joined by clone3)", boundary::new_cgroup_v1),
    ("stage", "tmpfs to build on; it goes with the old root", root::prepare),
    ("procfs", "mount a private procfs, prove it is one; all writes to procfs go through it", procfs::private),
    ("root", "overlay of the proven layers, userxattr, nosuid, nodev", root::container),
    ("targets", "resolve mount targets on the bare root, beneath it and through no symbolic link", targets::targets),
    ("files", "write hosts, hostname and resolv.conf", targets::files),
    ("workdir", "make the working directory where the image lacks it", targets::workdir),
    ("dev", "tmpfs on /dev with six proven nodes, own devpts, shm, the job's devices", dev::build),
    ("proc", "show procfs at /proc, nosuid, nodev, noexec; sysfs read-only if the job asks", procfs::show),
    ("mounts", "attach tmpfs, volumes and binds, nosuid, nodev, noexec unless asked for", mounts::attach),
    ("sysctls", "write the allowed sysctls of these namespaces", procfs::sysctls),
    ("masks", "hide and write-protect paths of procfs", procfs::mask),
    ("read-only", "make the root read-only unless the job says otherwise", root::seal),
    ("pivot", "pivot_root into the root, detach everything else", root::pivot),
    ("cgroup-namespace", "new cgroup namespace, rooted at the container's cgroup", |_| namespaces::new_cgroup()),
    ("stdio", "/dev/null and two pipes, owned by the container's user", |start| boundary::stdio(&start.setup)),
    ("ids", "setgroups, setresgid, setresuid, and read them back", |start| identity::drop_ids(&start.setup)),
    ("user-namespace", "nested user namespace P that maps these ids and no other", identity::new_user_namespace),
    ("no-nesting", "user.max_user_namespaces = 0 in P", identity::forbid_nesting),
    ("limits", "wait until the helper has written the limits and read them back", boundary::next_event),
];

/// A process that is added to a running container takes these steps in this order, then those of [`CONFINE`].
const ENTER: &[Step<EnterCode>] = &[
    ("cgroup", "join the container's cgroup v1 hierarchies (v2: joined by clone3)", |enter| {
        enter.setup.cgroup.join_v1()
    }),
    ("session", "new session, umask 022, default signal actions", |_| boundary::session()),
    ("ids", "drop the ids as a start does, keep the capabilities in A until P is joined", |enter| {
        identity::drop_ids_only(&enter.setup)
    }),
    ("namespaces", "join the container's pid, mount, network, ipc, uts and cgroup namespaces", namespaces::join),
    ("fork", "become not dumpable and fork into the pid namespace; the parent ends", namespaces::fork),
    ("stdio", "/dev/null and two pipes, owned by the container's user", |enter| boundary::stdio(&enter.setup)),
    ("user-namespace", "join P, the container's user namespace", identity::join_user_namespace),
];

/// The last steps of both lists.
const CONFINE: &[Step<ConfineCode>] = &[
    ("keyring", "new anonymous session keyring", |_| process::new_session_keyring()),
    ("cwd", "enter the working directory, which must lie below the root", launch::working_directory),
    ("capabilities", "empty all five sets but for what the job names; lock securebits", launch::capabilities),
    ("no-new-privs", "set no_new_privs", |_| process::no_new_privs()),
    ("landlock", "apply the path, TCP and scope rules, all of them or fail", launch::landlock),
    ("descriptors", "mark every descriptor above 2 close-on-exec", launch::close_descriptors),
    ("rlimits", "set resource limits; core is 0", boundary::rlimits),
    ("seccomp", "install the built-in baseline, then the profile", launch::filters),
    ("exec", "execve the program", launch::exec),
];

/// In a report: the process has only its filters and the execve to come. A failure's encoding never begins with this byte.
const EXECUTING: &[u8] = &[0];

/// What both lists work with.
pub struct Setup<'a> {
    /// What all containers of this helper share.
    pub shared: &'a Shared,
    /// What the process may do.
    pub confinement: &'a Confinement,
    /// What is executed.
    pub process: &'a Process,
    /// The container's cgroups.
    pub cgroup: &'a Cgroup,
    /// Write ends for stdout and stderr.
    pub stdio: [BorrowedFd<'a>; 2],
    /// Where [`EXECUTING`] is written.
    pub report: BorrowedFd<'a>,
}

/// A new container.
pub struct Start<'a> {
    /// What it has in common with [`Enter`].
    pub setup: Setup<'a>,
    /// The checked job.
    pub job: &'a Job,
    /// The helper's events for this process: one when the cgroups of v1 are made, one when the limits stand.
    pub events: BorrowedFd<'a>,
    /// A detached copy of the helper's `/dev`, where the container can have that.
    pub dev: Option<OwnedFd>,
    /// What steps have made for later ones.
    pub state: StepState,
}

/// A new process in a running container.
pub struct Enter<'a> {
    /// What it has in common with [`Start`].
    pub setup: Setup<'a>,
    /// pidfd of the container's pid 1, whose namespaces are joined.
    pub container: BorrowedFd<'a>,
}

/// Descriptors that steps of [`Start`] hand to later ones.
#[derive(Default)]
pub struct StepState {
    /// A procfs of the container's pid namespace, never covered by another mount, never seen by the payload.
    procfs: Option<OwnedFd>,
    /// The tmpfs that the root is built on.
    stage: Option<OwnedFd>,
    /// The overlay's root.
    root: Option<OwnedFd>,
    /// Targets of `job.rootfs.mounts`, resolved on the bare root, in that order.
    targets: Vec<targets::Target>,
}

/// Takes these steps, up to the first that fails.
fn take<Code>(steps: &[Step<Code>], mut call: impl FnMut(&Code) -> Result<(), Error>) -> Result<(), Failure> {
    steps.iter().try_for_each(|(name, _, step)| call(step).map_err(|error| error.in_step(name)))
}

impl Setup<'_> {
    /// Takes the last steps. Returns only a failure.
    fn confine(&self) -> Failure {
        let not_executed = || Error::container("the program was not executed").in_step("exec");
        take(CONFINE, |step| step(self)).err().unwrap_or_else(not_executed)
    }

    /// The container's ids as A numbers them. In an A of a single id, every id is that one.
    fn outer_ids(&self) -> (Uid, Gid) {
        let ids = &self.confinement.ids;
        match self.shared.facts.ids {
            IdSpace::Range { .. } => (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid)),
            IdSpace::Single => (Uid::ROOT, Gid::ROOT),
        }
    }
}

impl Start<'_> {
    /// Takes the steps. Returns only a failure.
    pub fn run(mut self) -> Failure {
        take(START, |step| step(&mut self)).err().unwrap_or_else(|| self.setup.confine())
    }

    fn root(&self) -> Result<BorrowedFd<'_>, Error> {
        step_made(&self.state.root, "the root")
    }

    fn stage(&self) -> Result<BorrowedFd<'_>, Error> {
        step_made(&self.state.stage, "the stage")
    }

    fn procfs(&self) -> Result<BorrowedFd<'_>, Error> {
        step_made(&self.state.procfs, "procfs")
    }
}

impl Enter<'_> {
    /// Takes the steps. Returns only a failure.
    pub fn run(mut self) -> Failure {
        take(ENTER, |step| step(&mut self)).err().unwrap_or_else(|| self.setup.confine())
    }
}

/// What a whole report says: the program was executed, or the step that failed.
pub fn executed(report: &[u8]) -> Result<(), Failure> {
    let failure = match report.strip_prefix(EXECUTING) {
        Some([]) => return Ok(()),
        Some(failure) => decode(failure),
        None => decode(report),
    };
    let killed = Error::container("the process was killed before its program was executed");
    Err(failure.unwrap_or_else(|_| killed.hint("is the memory limit too low?").in_step("exec")))
}

/// Fails if [`START`] is ordered wrongly: the step that creates this descriptor has not run.
fn step_made<'a>(descriptor: &'a Option<OwnedFd>, what: &str) -> Result<BorrowedFd<'a>, Error> {
    descriptor.as_ref().map(AsFd::as_fd).ok_or_else(|| Error::refused(format_args!("{what} is not made yet")))
}

/// Prints both lists, one step a line.
pub fn print() -> Result<(), Error> {
    let start = list("START", START);
    let enter = list("ENTER", ENTER);
    std::io::stdout().write_all(format!("{start}\n{enter}").as_bytes()).at("standard output")
}

fn list<Code>(title: &str, steps: &[Step<Code>]) -> String {
    let own = steps.iter().map(|(name, does, _)| (name, does));
    let shared = CONFINE.iter().map(|(name, does, _)| (name, does));
    let line = |(number, (name, does))| format!("{number:2}  {name:<17} {does}\n");
    let lines: String = (1..).zip(own.chain(shared)).map(line).collect();
    format!("{title}\n{lines}")
}
