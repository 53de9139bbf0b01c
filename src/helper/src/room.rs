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
pub mod tree;

use crate::realm::Realm;
use casemate_confine::{At, Fault, process};
use casemate_sys::{inherited, network};
use casemate_wire::{Failure, IdSpace, Job};
use rustix::fs::{Gid, Uid};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One step: its name in errors and documents, what it does, and the code.
type Step = (&'static str, &'static str, fn(&mut Room<'_>) -> Result<(), Fault>);

/// Every start takes these steps in this order. SECURITY.md quotes the list as `casemate-helper --steps` prints it.
const STEPS: &[Step] = &[
    ("cgroup", "join the cgroup v1 hierarchies that hold limits (v2: joined by clone3)", boundary::join_cgroups),
    ("session", "new session, umask 022, default signal actions", boundary::session),
    ("network", "bring up loopback in the empty network namespace", |_| network::loopback_up().at("lo")),
    ("hostname", "set the host name in the uts namespace", boundary::hostname),
    ("stage", "tmpfs to build on; it goes with the old root", root::prepare),
    ("procfs", "mount a private procfs, prove it is one; all writes to procfs go through it", procfs::private),
    ("root", "overlay of the proven layers, userxattr, nosuid, nodev", root::container),
    ("targets", "resolve every mount target on the bare root, beneath it and through no symbolic link", paths::targets),
    ("files", "write hosts, hostname and resolv.conf", paths::files),
    ("workdir", "make the working directory where the image lacks it", paths::workdir),
    ("dev", "tmpfs on /dev with six proven nodes, own devpts, shm, the job's devices", dev::build),
    ("proc", "show procfs at /proc, nosuid, nodev, noexec; sysfs read-only if the job asks", procfs::show),
    ("mounts", "attach tmpfs, volumes and binds, nosuid, nodev, noexec unless asked for", mounts::attach),
    ("sysctls", "write the allowed sysctls of these namespaces", procfs::sysctls),
    ("masks", "hide and write-protect paths of procfs", procfs::mask),
    ("read-only", "make the root read-only unless the job says otherwise", root::seal),
    ("pivot", "pivot_root into the root, detach everything else", |room| root::pivot_into(room.root()?)),
    ("cgroup-namespace", "new cgroup namespace, rooted at the container's cgroup", boundary::cgroup_namespace),
    ("stdio", "/dev/null and two pipes, owned by the container's user", boundary::stdio),
    ("rlimits", "set resource limits; core is 0", boundary::rlimits),
    ("ids", "setgroups, setresgid, setresuid, and read them back", identity::drop_ids),
    ("user-namespace", "nested user namespace P that maps these ids and no other", identity::enter_p),
    ("no-nesting", "user.max_user_namespaces = 0 in P", identity::forbid_nesting),
    ("keyring", "new anonymous session keyring", |_| process::new_session_keyring()),
    ("cwd", "enter the working directory, which must lie below the root", launch::working_directory),
    ("capabilities", "empty all five sets but for what the job names; lock securebits", launch::capabilities),
    ("no-new-privs", "set no_new_privs", |_| process::no_new_privs()),
    ("landlock", "apply the path, TCP and scope rules, all of them or fail", launch::landlock),
    ("descriptors", "mark every descriptor above 2 close-on-exec", |_| {
        inherited::keep_from_children().at("close_range")
    }),
    ("seccomp", "install the built-in baseline, then the profile", launch::filters),
    ("exec", "execve the payload", launch::exec),
];

/// What the parent reads of a child that has only its filters and the execve to come. No report of a failure begins so.
pub const EXECUTING: &[u8] = &[0];

/// What a start is given.
pub struct Room<'a> {
    /// The checked job.
    pub job: &'a Job,
    /// What every start builds on.
    pub realm: &'a Realm,
    /// Open `tasks` of each v1 cgroup to join.
    pub cgroup_tasks: &'a [OwnedFd],
    /// A detached copy of the helper's `/dev`, where the container can have that.
    pub dev: Option<OwnedFd>,
    /// Write ends for stdout and stderr.
    pub stdio: [BorrowedFd<'a>; 2],
    /// Where [`EXECUTING`] is said.
    pub report: BorrowedFd<'a>,
    /// What steps have made for later ones.
    pub made: Made,
}

/// What the steps hand to each other.
#[derive(Default)]
pub struct Made {
    /// Our own procfs, never covered by another mount, never seen by the payload.
    procfs: Option<OwnedFd>,
    /// The tmpfs that the root is built on.
    stage: Option<OwnedFd>,
    /// The overlay's root.
    root: Option<OwnedFd>,
    /// Targets of `job.rootfs.mounts`, resolved on the bare root, in that order.
    targets: Vec<paths::Target>,
}

/// A step that comes before the one that makes this would be a mistake in [`STEPS`].
fn there<'a>(made: &'a Option<OwnedFd>, what: &str) -> Result<BorrowedFd<'a>, Fault> {
    made.as_ref().map(AsFd::as_fd).ok_or_else(|| Fault::refused(format_args!("{what} is not there yet")))
}

impl Room<'_> {
    /// Takes the steps. Comes back only with the failure.
    pub fn enter(mut self) -> Failure {
        for (name, _, run) in STEPS {
            if let Err(fault) = run(&mut self) {
                return fault.in_step(name);
            }
        }
        Fault::container("the payload did not start").in_step("exec")
    }

    fn root(&self) -> Result<BorrowedFd<'_>, Fault> {
        there(&self.made.root, "the root")
    }

    fn stage(&self) -> Result<BorrowedFd<'_>, Fault> {
        there(&self.made.stage, "the stage")
    }

    fn procfs(&self) -> Result<BorrowedFd<'_>, Fault> {
        there(&self.made.procfs, "procfs")
    }

    /// The container's ids as A numbers them: in a single-id A everything is A's one id.
    fn ids_in_a(&self) -> (Uid, Gid) {
        match self.realm.facts.ids {
            IdSpace::Range { .. } => {
                (Uid::from_raw(self.job.confinement.ids.uid), Gid::from_raw(self.job.confinement.ids.gid))
            }
            IdSpace::Single => (Uid::ROOT, Gid::ROOT),
        }
    }
}

/// Prints the list, one step a line.
pub fn print_steps() -> Result<(), Fault> {
    let line = |(number, (name, does, _)): (usize, &Step)| format!("{number:2}  {name:<17} {does}\n");
    let text: String = (1..).zip(STEPS).map(line).collect();
    std::io::stdout().write_all(text.as_bytes()).at("standard output")
}
