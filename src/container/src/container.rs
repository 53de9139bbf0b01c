//! One container on the parent's side: start with cgroup, pipes and clone3, the report of its first process, its end.

use crate::cgroup::Cgroup;
use crate::check::process as check_process;
use crate::child::{self, Report, exit_code, now, reap};
use crate::steps::{Setup, Start, StepState, executed};
use crate::{Entered, Shared, check, tree};
use casemate_confine::Error;
use casemate_sys::process::Namespaces;
use casemate_wire::{Confinement, ContainerDescriptors, Digest, Enter, Exit, Failure, Job, Rlimit, encode};
use std::os::fd::{AsFd, BorrowedFd};

/// One container, from clone3 until it is forgotten.
#[derive(Debug)]
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
    /// Checks a job and starts it. Whether its payload was executed is reported later: see [`Self::started`].
    pub fn start(shared: &Shared, job: Job) -> Result<Self, Failure> {
        check(&job, shared.facts.ids).map_err(|error| error.in_step("check"))?;
        if let Some(missing) = job.rootfs.layers.iter().find(|layer| !shared.state.has_layer(layer)) {
            let text = format_args!("layer {missing} is not in the store; import the image again");
            return Err(Error::container(text).in_step("check"));
        }
        let cgroup = shared.cgroups.make(&job.name, &job.limits).map_err(|error| error.in_step("limits"))?;
        let spawned = spawn(shared, &job, &cgroup).inspect_err(|_| cgroup.remove());
        let (descriptors, report) = spawned.map_err(|error| error.in_step("clone3"))?;
        Ok(Self {
            digest: job.digest,
            layers: job.rootfs.layers,
            descriptors,
            started: now(),
            exit: None,
            confinement: job.confinement,
            rlimits: job.process.rlimits,
            report,
            cgroup,
        })
    }

    /// Starts a program in this container, with the confinement that it was started with.
    pub fn enter(&self, shared: &Shared, enter: &Enter) -> Result<Entered, Failure> {
        if self.exit.is_some() {
            return Err(Error::refused(format_args!("{} has ended", enter.container)).in_step("enter"));
        }
        let process = casemate_wire::Process {
            argv: enter.argv.clone(),
            env: enter.env.clone(),
            cwd: enter.cwd.clone(),
            rlimits: self.rlimits.clone(),
            init: false,
        };
        check_process(&process).map_err(|error| error.in_step("check"))?;
        Entered::spawn(shared, &self.descriptors.pidfd, &self.cgroup, &self.confinement, &process)
    }

    /// Where the start is reported.
    pub fn report(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }

    /// Reads what is available of the report. Returns the result once it is whole: the payload was executed, or the step that
    /// failed.
    pub fn started(&mut self) -> Option<Result<(), Failure>> {
        let result = executed(self.report.collect()?);
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

fn spawn(shared: &Shared, job: &Job, cgroup: &Cgroup) -> Result<(ContainerDescriptors, Report), Error> {
    let (stdout, stdout_write) = child::pipe()?;
    let (stderr, stderr_write) = child::pipe()?;
    let (spool, spool_write) = child::pipe()?;
    let v2 = cgroup.open_v2()?;
    let tasks = cgroup.open_tasks()?;
    // A device needs a name in the tmpfs, which no other container may see or find taken: such a job gets a `/dev` of its own.
    let dev = job.rootfs.devices.is_empty().then(|| tree::copy_all(&shared.dev, "/dev")).transpose()?;
    let cgroup = v2.as_ref().map(AsFd::as_fd);
    let (pidfd, report) = child::spawn(&shared.proof, Namespaces::ALL_BUT_USER, cgroup, |report| {
        let setup = Setup {
            shared,
            confinement: &job.confinement,
            process: &job.process,
            cgroup_tasks: &tasks,
            stdio: [stdout_write.as_fd(), stderr_write.as_fd()],
            report,
        };
        encode(&Start { setup, job, dev, state: StepState::default() }.run())
    })?;
    Ok((ContainerDescriptors { pidfd, stdout, stderr, spool, spool_write }, report))
}
