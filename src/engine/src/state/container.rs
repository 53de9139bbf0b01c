//! One container in two parts: what is desired of it (by the file and verbs), and what was observed (from the helper's replies and
//! events). `reconcile` compares the two.

use super::backoff::Backoff;
use crate::logs::{Bounds, HostLog, Origin};
use casemate_error::Code;
use casemate_spec::Restart;
use casemate_wire::{Digest, Exit, Job, Mount, Name};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The config of one container, from the file and the plan.
#[derive(Debug, Clone)]
pub struct ContainerConfig {
    /// The job that starts it.
    pub job: Job,
    /// Whether its layers are proven before each start (`store.verify = "start"`).
    pub prove_layers: bool,
    /// Its restart policy.
    pub restart: Restart,
    /// The signal that asks it to stop.
    pub stop_signal: u8,
    /// From the stop signal to SIGKILL.
    pub stop_grace_period: Duration,
    /// The size and number of its log files.
    pub log_bounds: Bounds,
    /// The host log that also gets its output, and the fields that identify it there.
    pub host_log: Option<(HostLog, Origin)>,
    /// Its image, as the file pins it.
    pub image: String,
}

/// A resource that one run at a time may hold, unless the file shares it explicitly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A user id.
    User(u32),
    /// A named volume.
    Volume(Name),
    /// A file or directory of the host.
    Bind(String),
}

impl ContainerConfig {
    /// The resources that a run of this config holds.
    pub fn resources(&self) -> Vec<Resource> {
        let mounts = self.job.rootfs.mounts.iter().filter_map(|mount| match mount {
            Mount::Tmpfs { .. } => None,
            Mount::Volume { name, .. } => Some(Resource::Volume(name.clone())),
            Mount::Bind { source, .. } => Some(Resource::Bind(source.clone())),
        });
        std::iter::once(Resource::User(self.job.confinement.ids.uid)).chain(mounts).collect()
    }
}

/// How a run is stopped and what it holds, from the config that it was started with: a later file may have another config for it, or
/// none.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// The signal that asks it to stop.
    pub stop_signal: u8,
    /// From the stop signal to SIGKILL.
    pub stop_grace_period: Duration,
    /// The resources that it holds; `None`: unknown, so possibly any.
    pub resources: Option<Vec<Resource>>,
}

impl RunConfig {
    /// For a run that no file describes.
    pub fn unknown() -> Self {
        let stop_grace_period = Duration::from_secs(10);
        Self { stop_signal: casemate_sys::signal::TERM, stop_grace_period, resources: None }
    }
}

impl From<&ContainerConfig> for RunConfig {
    fn from(config: &ContainerConfig) -> Self {
        Self {
            stop_signal: config.stop_signal,
            stop_grace_period: config.stop_grace_period,
            resources: Some(config.resources()),
        }
    }
}

/// The state that a container shall be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DesiredState {
    /// Running, or restarted by its policy.
    Running,
    /// Stopped now.
    Stopped,
    /// Stopped after the containers that follow it in the file.
    StoppedInOrder,
    /// Killed now.
    Killed,
}

/// What is desired of one container.
#[derive(Debug, Clone)]
pub struct Desired {
    /// Its config; `None`: the file does not have this container (an orphan).
    pub config: Option<Rc<ContainerConfig>>,
    /// The state that it shall be in.
    pub state: DesiredState,
    /// Counts the requested starts, by the file or a verb: a run of an earlier generation is replaced.
    pub generation: u64,
}

/// What was observed of one container.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The run that is starting, running, or has ended with output left to read.
    pub run: Option<Run>,
    /// How the container ended for good, and in which generation.
    pub end: Option<(u64, End)>,
    /// The newest generation whose first start has begun.
    pub begun_generation: u64,
    /// No start before this time.
    pub next_start: Option<Instant>,
    /// The exit status of its last run.
    pub exit: Option<Exit>,
    /// Whether the helper keeps the record of that run: a later manager then does not run the container again.
    pub record_kept: bool,
    /// How often its restart policy has restarted it.
    pub restarts: u32,
    /// Counts restarts in a row.
    pub backoff: Backoff,
    /// Why its last start failed.
    pub failure: Option<String>,
}

/// One run of a container.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its generation; 0: a run of an earlier manager by another config.
    pub generation: u64,
    /// Its phase.
    pub phase: Phase,
    /// Set once a stop was requested.
    pub stop: Option<StopProgress>,
    /// When its payload was executed, nanoseconds since 1970; 0 before.
    pub started: u64,
    /// The digest of its job.
    pub digest: Digest,
    /// How it is stopped and what it holds.
    pub config: RunConfig,
}

/// The phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its layers are being proven.
    Proving,
    /// The start request was sent to the helper.
    Starting,
    /// Its payload was executed.
    Running,
    /// Its pid 1 has ended; its output may be unread.
    Exited(Exit),
}

/// The progress of stopping a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopProgress {
    /// Its stop signal was sent; SIGKILL follows at this time.
    Signalled(Instant),
    /// SIGKILL was sent.
    Killed,
}

/// How a container ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, and its policy does not restart it.
    Completed,
    /// It was stopped.
    Stopped,
    /// It was restarted too often in a row.
    GaveUp,
    /// It could not be started; the exit code of the reason.
    StartFailed(Code),
}

/// One container.
#[derive(Debug, Clone)]
pub struct Container {
    /// What is desired; `None`: no file was applied yet, so a run of an earlier manager is left running.
    pub desired: Option<Desired>,
    /// What was observed.
    pub observed: Observed,
}

impl Container {
    /// Whether its run has another config than the file, or the file does not have it. Its resources are not free before it ends.
    pub fn is_outdated(&self) -> bool {
        let Some(run) = &self.observed.run else { return false };
        let Some(desired) = &self.desired else { return false };
        desired.config.as_ref().is_none_or(|config| config.job.digest != run.digest)
    }

    /// Whether it shall run.
    pub fn should_run(&self) -> bool {
        self.desired.as_ref().is_some_and(|desired| desired.state == DesiredState::Running && desired.config.is_some())
    }

    /// How the desired generation ended for good.
    pub fn end(&self) -> Option<End> {
        let generation = self.desired.as_ref()?.generation;
        self.observed.end.filter(|(ended, _)| *ended == generation).map(|(_, end)| end)
    }

    /// Whether the first start of the desired generation has begun.
    pub fn start_has_begun(&self) -> bool {
        self.desired.as_ref().is_some_and(|desired| self.observed.begun_generation == desired.generation)
    }

    /// Whether it does not run, and is not going to be started.
    pub fn has_ended(&self) -> bool {
        self.observed.run.is_none() && (self.end().is_some() || !self.should_run())
    }

    /// Whether it ended by itself: only a verb or a new file starts it again.
    pub fn has_ended_by_itself(&self) -> bool {
        self.has_ended() && self.end().is_some_and(|end| end != End::Stopped)
    }

    /// Whether its first start has a result: its payload ran, it cannot be started, or it shall not run.
    pub fn start_is_decided(&self) -> bool {
        let Some(desired) = &self.desired else { return false };
        let is_undecided =
            |run: &Run| run.generation != desired.generation || matches!(run.phase, Phase::Proving | Phase::Starting);
        match &self.observed.run {
            _ if desired.config.is_none() => false,
            Some(run) => !self.should_run() || !is_undecided(run) || self.observed.restarts > 0,
            None => !self.should_run() || self.end().is_some() || self.observed.restarts > 0,
        }
    }

    /// Like [`Self::start_is_decided`], and its start did not fail.
    pub fn came_up(&self) -> bool {
        self.start_is_decided() && !matches!(self.end(), Some(End::StartFailed(_)))
    }

    /// The state that `casemate ps` prints.
    pub fn state(&self) -> &'static str {
        let run = self.observed.run.as_ref();
        match (run.map(|run| (run.phase, run.stop)), self.end()) {
            (Some((_, Some(_))), _) => "stopping",
            (Some((Phase::Running | Phase::Exited(_), None)), _) => "running",
            (_, Some(End::Completed)) if self.observed.exit.is_some_and(|exit| exit.code == 0) => "completed",
            (_, Some(End::Completed)) => "exited",
            (_, Some(End::Stopped)) => "stopped",
            (_, Some(End::GaveUp | End::StartFailed(_))) => "failed",
            (None, None) if self.desired.is_some() && !self.should_run() => "stopped",
            (_, None) if self.observed.restarts == 0 => "waiting",
            (_, None) => "restarting",
        }
    }

    /// The exit code of `casemate up` for the way it ended; `None` if it ended well.
    pub fn exit_code(&self) -> Option<Code> {
        match self.end()? {
            End::StartFailed(code) => Some(code),
            End::GaveUp => Some(Code::Failed),
            End::Completed if self.observed.exit.is_none_or(|exit| exit.code != 0) => Some(Code::Failed),
            End::Completed | End::Stopped => None,
        }
    }
}
