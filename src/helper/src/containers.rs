//! The table of containers, and the parent's side of a start: cgroup, pipes, clone3, and whatever the child reports.

use crate::cgroup::{Cgroup, Tree};
use crate::check::check;
use crate::fault::{At, Fault};
use crate::layers;
use crate::room::{self, Door, dev};
use casemate_sys::process::{Fork, Namespaces, SingleThreaded, exit_now, fork};
use casemate_wire::{Digest, Exit, Failure, IdSpace, Job, Name, decode, encode};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a start needs beside its job.
pub struct Host<'a> {
    /// Proof for fork.
    pub proof: &'a SingleThreaded,
    /// The state directory.
    pub state: &'a Path,
    /// A's ids.
    pub space: IdSpace,
    /// The delegated cgroups.
    pub cgroups: &'a Tree,
    /// The shared part of `/dev`.
    pub dev: BorrowedFd<'a>,
    /// `casemate-init`.
    pub init: BorrowedFd<'a>,
}

/// One container, from clone3 until it is forgotten.
pub struct Container {
    /// The digest of its job.
    pub digest: Digest,
    /// Its layers.
    pub layers: Vec<Digest>,
    /// Its volumes.
    pub volumes: Vec<Name>,
    /// Its pid 1.
    pub pidfd: OwnedFd,
    /// When its payload was executed.
    pub started: u64,
    /// Where a failed step is reported; end of file is the payload's execve. None after that.
    pub report: Option<OwnedFd>,
    /// How it ended.
    pub exit: Option<Exit>,
    cgroup: Cgroup,
    /// stdout, stderr, and the two ends of the holding pipe.
    pipes: [OwnedFd; 4],
}

/// All containers that are not forgotten.
pub type Containers = BTreeMap<Name, Container>;

/// Starts a job. The container is in the table once its payload runs, or until its failure is read.
pub fn start(host: &Host<'_>, job: &Job) -> Result<Container, Failure> {
    check(job, host.space).map_err(|fault| fault.in_step("check"))?;
    if let Some(missing) = job.layers.iter().find(|layer| !layers::exists(host.state, layer)) {
        return Err(Fault::container(format_args!(
            "layer {missing} is not in the store; import the image again"
        ))
        .in_step("check"));
    }
    let cgroup = host.cgroups.make(&job.name, &job.limits).map_err(|fault| fault.in_step("limits"))?;
    let result = spawn(host, job, &cgroup);
    if result.is_err() {
        cgroup.remove();
    }
    let (pidfd, report, pipes) = result.map_err(|fault| fault.in_step("clone3"))?;
    let volumes = job.mounts.iter().filter_map(|mount| match mount {
        casemate_wire::Mount::Volume { name, .. } => Some(name.clone()),
        _ => None,
    });
    Ok(Container {
        digest: job.digest,
        layers: job.layers.clone(),
        volumes: volumes.collect(),
        pidfd,
        started: now(),
        report: Some(report),
        exit: None,
        cgroup,
        pipes,
    })
}

fn spawn(host: &Host<'_>, job: &Job, cgroup: &Cgroup) -> Result<(OwnedFd, OwnedFd, [OwnedFd; 4]), Fault> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC).at("pipe");
    let ((out, out_write), (err, err_write), (hold, hold_write), (report, report_write)) =
        (pipe()?, pipe()?, pipe()?, pipe()?);
    let v2 = cgroup.open_v2()?;
    let tasks = cgroup.open_tasks()?;
    let dev = dev::copy(host.dev)?;
    match fork(host.proof, Namespaces::ROOM, v2.as_ref().map(AsFd::as_fd)).at("a container's namespaces")? {
        Fork::Parent { pidfd, .. } => Ok((pidfd, report, [out, err, hold, hold_write])),
        Fork::Child => {
            let door = Door {
                space: host.space,
                state: host.state,
                cgroup_tasks: &tasks,
                dev: dev.as_fd(),
                stdio: [out_write.as_fd(), err_write.as_fd()],
                init: host.init,
            };
            let failure = room::enter(job, &door);
            if let Ok(bytes) = encode(&failure) {
                // Nobody to tell when the helper is gone; the exit status says the rest.
                let _ = rustix::io::write(&report_write, &bytes);
            }
            exit_now(127)
        }
    }
}

impl Container {
    /// Reads the child's report: `None` means that the payload was executed.
    pub fn read_report(&mut self) -> Option<Failure> {
        let report = self.report.take()?;
        let mut buffer = [0; 4096];
        match rustix::io::retry_on_intr(|| rustix::io::read(&report, &mut buffer)) {
            Ok(0) => {
                self.started = now();
                None
            }
            Ok(count) => Some(decode(buffer.get(..count).unwrap_or_default()).unwrap_or_else(|_| lost())),
            Err(_) => Some(lost()),
        }
    }

    /// The descriptors of [`casemate_wire::Request::Attach`], in its order.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 5] {
        let [out, err, hold, hold_write] = &self.pipes;
        [self.pidfd.as_fd(), out.as_fd(), err.as_fd(), hold.as_fd(), hold_write.as_fd()]
    }

    /// Sends a signal to pid 1; SIGKILL ends the whole pid namespace.
    pub fn signal(&self, signal: Signal) -> Result<(), Fault> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno).at("signal"),
        }
    }

    /// Reaps pid 1 when its pidfd says that it has ended.
    pub fn reap(&mut self) -> Option<Exit> {
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
            .ok()??;
        let signal = status.terminating_signal().and_then(|signal| u8::try_from(signal).ok());
        let code = match (status.exit_status(), signal) {
            (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
            (None, signal) => signal.unwrap_or(0).saturating_add(128),
        };
        let exit = Exit { code, signal, oom_kills: self.cgroup.oom_kills(), at: now() };
        self.exit = Some(exit);
        Some(exit)
    }

    /// Resource use.
    pub fn stats(&self) -> casemate_wire::Stats {
        self.cgroup.stats()
    }

    /// Takes away what is left of an ended container.
    pub fn forget(self) {
        self.cgroup.remove();
    }
}

fn lost() -> Failure {
    Fault::container("the report of the failed step was lost").in_step("exec")
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
