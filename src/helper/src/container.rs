//! A container as the helper keeps it, from clone3 until it is forgotten: descriptors, the report of its start, its end.

use crate::entered::Entered;
use casemate_confine::Error;
use casemate_container::Shared;
use casemate_container::cgroup::Cgroup;
use casemate_container::child::{self, Report, exit_code, now, reap};
use casemate_wire::{Confinement, ContainerDescriptors, Digest, Enter, Exit, Failure, Job, Process, Rlimit};
use std::os::fd::{AsFd, BorrowedFd};

/// One container.
pub struct Container {
    /// The digest of its job.
    pub digest: Digest,
    /// Its layers.
    pub layers: Vec<Digest>,
    /// Its pid 1 and the helper's ends of its pipes.
    pub descriptors: ContainerDescriptors,
    /// When its payload was executed, nanoseconds of CLOCK_REALTIME.
    pub started: u64,
    /// How it ended.
    pub exit: Option<Exit>,
    /// What its processes may do, for those that enter later.
    confinement: Confinement,
    rlimits: Vec<Rlimit>,
    report: Report,
    cgroup: Cgroup,
}

impl Container {
    /// Starts a job. Whether its payload was executed is reported later: see [`Self::started`].
    pub fn start(shared: &Shared, job: Job) -> Result<Self, Failure> {
        let pipe = || child::pipe().map_err(|error| error.in_step("start"));
        let (stdout, stdout_write) = pipe()?;
        let (stderr, stderr_write) = pipe()?;
        let (spool, spool_write) = pipe()?;
        let stdio = [stdout_write.as_fd(), stderr_write.as_fd()];
        let (pidfd, report, cgroup) = casemate_container::start(shared, &job, stdio)?;
        Ok(Self {
            digest: job.digest,
            layers: job.rootfs.layers,
            descriptors: ContainerDescriptors { pidfd, stdout, stderr, spool, spool_write },
            started: now(),
            exit: None,
            confinement: job.confinement,
            rlimits: job.process.rlimits,
            report,
            cgroup,
        })
    }

    /// Starts a program in this container, with the confinement that it was started with.
    pub fn enter(&self, shared: &Shared, enter: Enter) -> Result<Entered, Failure> {
        if self.exit.is_some() {
            return Err(Error::refused(format_args!("{} has ended", enter.container)).in_step("enter"));
        }
        let Enter { argv, env, cwd, .. } = enter;
        let process = Process { argv, env, cwd, rlimits: self.rlimits.clone(), init: false };
        Entered::start(shared, (self.descriptors.pidfd.as_fd(), &self.cgroup, &self.confinement), &process)
    }

    /// Where the start is reported.
    pub fn report(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }

    /// Reads what is available of the report. Returns the result once it is whole: the payload was executed, or the step that
    /// failed.
    pub fn started(&mut self) -> Option<Result<(), Failure>> {
        let result = casemate_container::executed(self.report.collect()?);
        if result.is_ok() {
            self.started = now();
        }
        Some(result)
    }

    /// Reaps pid 1 when its pidfd says that it has ended.
    pub fn reap(&mut self) -> Option<Exit> {
        let (code, signal) = exit_code(reap(&self.descriptors.pidfd)?);
        self.exit = Some(Exit { code, signal, oom_kills: self.cgroup.oom_kills(), at: now() });
        self.exit
    }

    /// Removes the cgroups of an ended container.
    pub fn forget(self) {
        self.cgroup.remove();
    }
}
