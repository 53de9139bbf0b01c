//! A container's room: what the new process does between clone3 and execve, as an ordered list of steps.
//!
//! Enters: a checked job, in a process that is root of A, in new pid, mount, net, ipc and uts namespaces and in the
//! container's cgroup. Leaves: the payload, or a [`Failure`] that names the step. Nothing of a step outlives a failure: the
//! process ends, and its namespaces with it.

mod boundary;
pub mod dev;
mod identity;
mod launch;
mod mounts;
pub mod paths;
mod procfs;
pub mod root;

use crate::fault::Fault;
use casemate_wire::{Failure, IdSpace, Job};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// One step: its name in errors and documents, what it does, and the code.
struct Step {
    name: &'static str,
    does: &'static str,
    run: fn(&mut Room<'_>) -> Result<(), Fault>,
}

/// Every start takes these steps in this order. SECURITY.md quotes the list as `casemate-helper --steps` prints it.
const STEPS: &[Step] = &[
    Step {
        name: "cgroup",
        does: "join the cgroup v1 hierarchies that hold limits (v2: joined by clone3)",
        run: boundary::join_cgroups,
    },
    Step { name: "session", does: "new session, umask 022, default signal actions", run: boundary::session },
    Step {
        name: "network",
        does: "bring up loopback in the empty network namespace",
        run: boundary::network,
    },
    Step { name: "hostname", does: "set the host name in the uts namespace", run: boundary::hostname },
    Step { name: "stage", does: "tmpfs to build on; it goes with the old root", run: root::prepare },
    Step {
        name: "procfs",
        does: "mount a private procfs, prove it is one; all writes to procfs go through it",
        run: procfs::private,
    },
    Step {
        name: "root",
        does: "overlay of the proven layers, userxattr, nosuid, nodev",
        run: root::container,
    },
    Step {
        name: "targets",
        does: "resolve every mount target on the bare root, beneath it and through no symbolic link",
        run: paths::targets,
    },
    Step { name: "files", does: "write hosts, hostname and resolv.conf", run: paths::files },
    Step {
        name: "workdir",
        does: "make the working directory where the image lacks it",
        run: paths::workdir,
    },
    Step {
        name: "dev",
        does: "tmpfs on /dev with six proven nodes, own devpts, shm, the job's devices",
        run: dev::build,
    },
    Step {
        name: "proc",
        does: "show procfs at /proc, nosuid, nodev, noexec; sysfs read-only if the job asks",
        run: procfs::show,
    },
    Step {
        name: "mounts",
        does: "attach tmpfs, volumes and binds, nosuid, nodev, noexec unless asked for",
        run: mounts::attach,
    },
    Step { name: "sysctls", does: "write the allowed sysctls of these namespaces", run: procfs::sysctls },
    Step { name: "masks", does: "hide and write-protect paths of procfs", run: procfs::mask },
    Step {
        name: "read-only",
        does: "make the root read-only unless the job says otherwise",
        run: root::seal,
    },
    Step { name: "pivot", does: "pivot_root into the root, detach everything else", run: root::pivot },
    Step {
        name: "cgroup-namespace",
        does: "new cgroup namespace, rooted at the container's cgroup",
        run: boundary::cgroup_namespace,
    },
    Step {
        name: "stdio",
        does: "/dev/null and two pipes, owned by the container's user",
        run: boundary::stdio,
    },
    Step { name: "rlimits", does: "set resource limits; core is 0", run: boundary::rlimits },
    Step {
        name: "ids",
        does: "setgroups, setresgid, setresuid, and read them back",
        run: identity::drop_ids,
    },
    Step {
        name: "user-namespace",
        does: "nested user namespace P that maps these ids and no other",
        run: identity::enter_p,
    },
    Step { name: "no-nesting", does: "user.max_user_namespaces = 0 in P", run: identity::forbid_nesting },
    Step { name: "keyring", does: "new anonymous session keyring", run: identity::keyring },
    Step {
        name: "cwd",
        does: "enter the working directory, which must lie below the root",
        run: launch::working_directory,
    },
    Step {
        name: "capabilities",
        does: "empty all five sets but for what the job names; lock securebits",
        run: launch::capabilities,
    },
    Step { name: "no-new-privs", does: "set no_new_privs", run: launch::no_new_privs },
    Step {
        name: "landlock",
        does: "apply the path, TCP and scope rules, all of them or fail",
        run: launch::landlock,
    },
    Step {
        name: "descriptors",
        does: "mark every descriptor above 2 close-on-exec",
        run: launch::descriptors,
    },
    Step { name: "seccomp", does: "install the built-in baseline, then the profile", run: launch::filters },
    Step { name: "exec", does: "execve the payload", run: launch::exec },
];

/// What the steps hand to each other.
pub struct Room<'a> {
    /// The checked job.
    pub job: &'a Job,
    /// A's ids.
    pub space: IdSpace,
    /// The state directory.
    pub state: &'a Path,
    /// Open `tasks` of each v1 cgroup to join.
    pub cgroup_tasks: &'a [OwnedFd],
    /// A detached copy of the helper's `/dev`.
    pub dev: BorrowedFd<'a>,
    /// Write ends for stdout and stderr.
    pub stdio: [BorrowedFd<'a>; 2],
    /// `casemate-init`.
    pub init: BorrowedFd<'a>,
    /// Our own procfs, never covered by another mount, never seen by the payload.
    procfs: Option<OwnedFd>,
    /// The tmpfs that the root is built on.
    stage: Option<OwnedFd>,
    /// The overlay's root.
    root: Option<OwnedFd>,
    /// Targets of `job.mounts`, resolved on the bare root, in that order.
    targets: Vec<paths::Target>,
    /// Writes the group map of P where supplementary groups are asked for.
    mapper: Option<identity::Mapper>,
}

impl Room<'_> {
    fn root(&self) -> Result<BorrowedFd<'_>, Fault> {
        self.root.as_ref().map(AsFd::as_fd).ok_or_else(|| Fault::refused("the root is not there yet"))
    }

    fn stage(&self) -> Result<BorrowedFd<'_>, Fault> {
        self.stage.as_ref().map(AsFd::as_fd).ok_or_else(|| Fault::refused("the stage is not there yet"))
    }

    fn procfs(&self) -> Result<BorrowedFd<'_>, Fault> {
        self.procfs.as_ref().map(AsFd::as_fd).ok_or_else(|| Fault::refused("procfs is not there yet"))
    }
}

/// The descriptors and facts that a start needs beside its job.
pub struct Door<'a> {
    /// See [`Room::space`].
    pub space: IdSpace,
    /// See [`Room::state`].
    pub state: &'a Path,
    /// See [`Room::cgroup_tasks`].
    pub cgroup_tasks: &'a [OwnedFd],
    /// See [`Room::dev`].
    pub dev: BorrowedFd<'a>,
    /// See [`Room::stdio`].
    pub stdio: [BorrowedFd<'a>; 2],
    /// See [`Room::init`].
    pub init: BorrowedFd<'a>,
}

/// Takes the steps. Comes back only with the failure.
pub fn enter(job: &Job, door: &Door<'_>) -> Failure {
    let mut room = Room {
        job,
        space: door.space,
        state: door.state,
        cgroup_tasks: door.cgroup_tasks,
        dev: door.dev,
        stdio: door.stdio,
        init: door.init,
        stage: None,
        procfs: None,
        root: None,
        targets: Vec::new(),
        mapper: None,
    };
    for step in STEPS {
        if let Err(fault) = (step.run)(&mut room) {
            return fault.in_step(step.name);
        }
    }
    Fault::container("the payload did not start").in_step("exec")
}

/// Prints the list, one step a line.
pub fn print_steps() -> Result<(), String> {
    let mut text = String::new();
    for (number, step) in (1..).zip(STEPS) {
        text.push_str(&format!("{number:2}  {:<17} {}\n", step.name, step.does));
    }
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())
        .map_err(|error| format!("standard output: {error}"))
}

pub use launch::confined;
