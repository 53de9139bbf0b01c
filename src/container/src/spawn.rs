//! The parent's side of both lists of steps: checks, the cgroup, what the new process inherits, clone3.

use crate::cgroup::Cgroup;
use crate::child::{self, Report};
use crate::steps::{Enter, Setup, Start, StepState};
use crate::{Shared, check, tree};
use casemate_confine::{At, Error};
use casemate_sys::process::Namespaces;
use casemate_wire::{Confinement, Failure, Job, Process, encode};
use rustix::event::{EventfdFlags, eventfd};
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
    let (pidfd, report) = start_in(shared, &cgroup, job, stdio).inspect_err(|_| cgroup.remove())?;
    Ok((pidfd, report, cgroup))
}

fn start_in(
    shared: &Shared,
    cgroup: &Cgroup,
    job: &Job,
    stdio: [BorrowedFd<'_>; 2],
) -> Result<(OwnedFd, Report), Failure> {
    let in_limits = |error: Error| error.in_step("limits");
    let events = eventfd(0, EventfdFlags::SEMAPHORE | EventfdFlags::CLOEXEC).at("eventfd").map_err(in_limits)?;
    // A device needs a name in the tmpfs, which no other container may see or find taken: such a job gets a `/dev` of its own.
    let dev = job.rootfs.devices.is_empty().then(|| tree::copy_all(&shared.dev, "/dev"));
    let dev = dev.transpose().map_err(|error| error.in_step("dev"))?;
    let (pidfd, report) = spawn(shared, Namespaces::ALL_BUT_USER, cgroup, |report| {
        let setup = Setup { shared, confinement: &job.confinement, process: &job.process, cgroup, stdio, report };
        Start { setup, job, events: events.as_fd(), dev, state: StepState::default() }.run()
    })?;
    // The child takes its steps in the meantime. Two of them wait for these events.
    let event = || rustix::io::write(&events, &1_u64.to_ne_bytes()).at("eventfd").map(drop);
    let made = cgroup.make_v1(&job.limits).and_then(|()| event());
    let limited = made.and_then(|()| shared.cgroups.limit(cgroup, &job.limits)).and_then(|()| event());
    limited.map_err(in_limits).inspect_err(|_| child::end(&pidfd))?;
    Ok((pidfd, report))
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
    spawn(shared, Namespaces::NONE, cgroup, |report| {
        let setup = Setup { shared, confinement, process, cgroup, stdio, report };
        Enter { setup, container }.run()
    })
}

/// Starts a child in this cgroup of v2 that takes steps. They get the pipe for the report, and return only with a failure.
fn spawn(
    shared: &Shared,
    namespaces: Namespaces,
    cgroup: &Cgroup,
    take_steps: impl FnOnce(BorrowedFd<'_>) -> Failure,
) -> Result<(OwnedFd, Report), Failure> {
    let become_program = |report: BorrowedFd<'_>| encode(&take_steps(report));
    let v2 = cgroup.open_v2();
    let spawned =
        v2.and_then(|v2| child::spawn(&shared.proof, namespaces, v2.as_ref().map(AsFd::as_fd), become_program));
    spawned.map_err(|error| error.in_step("clone3"))
}
