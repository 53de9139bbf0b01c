//! One container: the parent's side of its start with cgroup, pipes and clone3, what the child reports, and its end.

use crate::cgroup::Cgroup;
use crate::check::check;
use crate::layers;
use crate::outcome::{self, Outcome, reap};
use crate::realm::Realm;
use crate::room::{EXECUTING, Made, Room, tree};
use casemate_confine::Fault;
use casemate_wire::{ContainerDescriptors, Digest, Exit, Failure, Job, decode, encode};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

/// One container, from clone3 until it is forgotten.
pub struct Container {
    /// The digest of its job.
    pub digest: Digest,
    /// Its layers.
    pub layers: Vec<Digest>,
    /// Its pid 1.
    pub pidfd: OwnedFd,
    /// When its payload was executed.
    pub started: u64,
    /// How it ended.
    pub exit: Option<Exit>,
    report: Outcome,
    cgroup: Cgroup,
    /// stdout and stderr to read, and the two ends of the spool pipe.
    pipes: [OwnedFd; 4],
}

/// Starts a job. Whether its payload runs, its report says.
pub fn start(realm: &Realm, job: &Job) -> Result<Container, Failure> {
    check(job, realm.facts.ids).map_err(|fault| fault.in_step("check"))?;
    if let Some(missing) = job.rootfs.layers.iter().find(|layer| !layers::exists(&realm.state, layer)) {
        let text = format_args!("layer {missing} is not in the store; import the image again");
        return Err(Fault::container(text).in_step("check"));
    }
    let cgroup = realm.cgroups.make(&job.name, &job.limits).map_err(|fault| fault.in_step("limits"))?;
    let spawned = spawn(realm, job, &cgroup).inspect_err(|_| cgroup.remove());
    let (pidfd, report, pipes) = spawned.map_err(|fault| fault.in_step("clone3"))?;
    let (digest, layers) = (job.digest, job.rootfs.layers.clone());
    Ok(Container { digest, layers, pidfd, started: now(), exit: None, report, cgroup, pipes })
}

fn spawn(realm: &Realm, job: &Job, cgroup: &Cgroup) -> Result<(OwnedFd, Outcome, [OwnedFd; 4]), Fault> {
    let (out, out_write) = outcome::pipe()?;
    let (err, err_write) = outcome::pipe()?;
    let (spool, spool_write) = outcome::pipe()?;
    let v2 = cgroup.open_v2()?;
    let tasks = cgroup.open_tasks()?;
    // A device is a new name in its tmpfs, which no other container is to see or to find taken.
    let dev = job.rootfs.devices.is_empty().then(|| tree::copy_all(&realm.dev, "/dev")).transpose()?;
    let (pidfd, report) = outcome::spawn(&realm.proof, v2.as_ref().map(AsFd::as_fd), |report| {
        let (stdio, made) = ([out_write.as_fd(), err_write.as_fd()], Made::default());
        let room = Room { job, realm, cgroup_tasks: &tasks, dev, stdio, report, made };
        encode(&room.enter())
    })?;
    Ok((pidfd, report, [out, err, spool, spool_write]))
}

impl Container {
    /// Where the start is reported.
    pub fn report(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }

    /// Takes what is there of the report; the answer once it is whole: the payload was executed, or the step that failed.
    pub fn started(&mut self) -> Option<Result<(), Failure>> {
        let said = self.report.collect()?;
        let failure = match said.strip_prefix(EXECUTING) {
            Some([]) => {
                self.started = now();
                return Some(Ok(()));
            }
            Some(failure) => decode(failure),
            None => decode(said),
        };
        let killed = Fault::container("the container was killed before its payload was executed");
        let killed = killed.hint("is its memory limit too low?");
        Some(Err(failure.unwrap_or_else(|_| killed.in_step("exec"))))
    }

    /// What `attached` and `started` carry.
    pub fn descriptors(&self) -> ContainerDescriptors<BorrowedFd<'_>> {
        let [stdout, stderr, spool, spool_write] = &self.pipes;
        ContainerDescriptors {
            pidfd: self.pidfd.as_fd(),
            stdout: stdout.as_fd(),
            stderr: stderr.as_fd(),
            spool: spool.as_fd(),
            spool_write: spool_write.as_fd(),
        }
    }

    /// Reaps pid 1 when its pidfd says that it has ended.
    pub fn reap(&mut self) -> Option<Exit> {
        let status = reap(&self.pidfd)?;
        let signal = status.terminating_signal().and_then(|signal| u8::try_from(signal).ok());
        let code = match (status.exit_status(), signal) {
            (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
            (None, signal) => signal.unwrap_or(0).saturating_add(128),
        };
        self.exit = Some(Exit { code, signal, oom_kills: self.cgroup.oom_kills(), at: now() });
        self.exit
    }

    /// Takes away what is left of an ended container.
    pub fn forget(self) {
        self.cgroup.remove();
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
