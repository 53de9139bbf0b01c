//! The parent's side of both lists of steps: checks, the cgroup, what the new process inherits, clone3.

use crate::cgroup::Cgroup;
use crate::child::{self, Report};
use crate::steps::{Enter, Setup, Start, StepState};
use crate::{Shared, check, tree};
use casemate_confine::Error;
use casemate_sys::process::Namespaces;
use casemate_wire::{Confinement, Failure, Job, Process, encode};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Checks a job, makes its cgroup and starts its first process with these write ends as output. Leaves the pidfd, the pipe that says
/// whether the payload was executed, and the cgroup, which is to be removed after the process.
pub fn start(shared: &Shared, job: &Job, stdio: [BorrowedFd<'_>; 2]) -> Result<(OwnedFd, Report, Cgroup), Failure> {
    check::job(job, shared.facts.ids).map_err(|error| error.in_step("check"))?;
    if let Some(missing) = job.rootfs.layers.iter().find(|layer| !shared.state.has_layer(layer)) {
        let text = format_args!("layer {missing} is not in the store; import the image again");
        return Err(Error::container(text).in_step("check"));
    }
    let cgroup = shared.cgroups.make(&job.name, &job.limits).map_err(|error| error.in_step("limits"))?;
    let spawned = spawn_first(shared, job, &cgroup, stdio).inspect_err(|_| cgroup.remove());
    let (pidfd, report) = spawned.map_err(|error| error.in_step("clone3"))?;
    Ok((pidfd, report, cgroup))
}

fn spawn_first(
    shared: &Shared,
    job: &Job,
    cgroup: &Cgroup,
    stdio: [BorrowedFd<'_>; 2],
) -> Result<(OwnedFd, Report), Error> {
    // A device needs a name in the tmpfs, which no other container may see or find taken: such a job gets a `/dev` of its own.
    let dev = job.rootfs.devices.is_empty().then(|| tree::copy_all(&shared.dev, "/dev")).transpose()?;
    spawn(shared, Namespaces::ALL_BUT_USER, cgroup, |cgroup_tasks, report| {
        let confinement = &job.confinement;
        let setup = Setup { shared, confinement, process: &job.process, cgroup_tasks, stdio, report };
        Start { setup, job, dev, state: StepState::default() }.run()
    })
}

/// A container that runs: its pid 1, its cgroup and the confinement that it was started with.
pub type RunningContainer<'a> = (BorrowedFd<'a>, &'a Cgroup, &'a Confinement);

/// Starts a process in a container that runs, with that container's confinement. Leaves the pidfd of the child that joins the
/// namespaces, and the pipe that says which process it forked and whether the program was executed.
pub fn enter(
    shared: &Shared,
    (container, cgroup, confinement): RunningContainer<'_>,
    process: &Process,
    stdio: [BorrowedFd<'_>; 2],
) -> Result<(OwnedFd, Report), Failure> {
    check::process(process).map_err(|error| error.in_step("check"))?;
    let spawned = spawn(shared, Namespaces::NONE, cgroup, |cgroup_tasks, report| {
        let setup = Setup { shared, confinement, process, cgroup_tasks, stdio, report };
        Enter { setup, container }.run()
    });
    spawned.map_err(|error| error.in_step("clone3"))
}

/// Starts a child in this cgroup that takes steps. They get the open `tasks` of cgroup v1 and the pipe for the report, and return only
/// with a failure.
fn spawn(
    shared: &Shared,
    namespaces: Namespaces,
    cgroup: &Cgroup,
    take_steps: impl FnOnce(&[OwnedFd], BorrowedFd<'_>) -> Failure,
) -> Result<(OwnedFd, Report), Error> {
    let v2 = cgroup.open_v2()?;
    let tasks = cgroup.open_tasks()?;
    child::spawn(&shared.proof, namespaces, v2.as_ref().map(AsFd::as_fd), |report| encode(&take_steps(&tasks, report)))
}
