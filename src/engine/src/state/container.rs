//! One container as two halves: what is desired of it (by the file and by verbs), and what was observed of it (from the helper's
//! answers and events). Neither half decides anything; `reconcile` compares them.

use super::backoff::Backoff;
use crate::logs::{Bounds, HostLog, Origin};
use casemate_error::Code;
use casemate_spec::Restart;
use casemate_wire::{Digest, Exit, Job, Mount, Name};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What the file and the plan say about one container.
#[derive(Debug, Clone)]
pub struct ContainerConfig {
    /// Its start.
    pub job: Job,
    /// The files of its layers are proven before each start (`store.verify = "start"`).
    pub prove_layers: bool,
    /// What follows its end.
    pub restart: Restart,
    /// The signal that asks it to stop.
    pub stop_signal: u8,
    /// From the stop signal to SIGKILL.
    pub stop_grace_period: Duration,
    /// How much of its output is kept.
    pub log_bounds: Bounds,
    /// The log of the host that gets its output too, and the fields that identify it there.
    pub host_log: Option<(HostLog, Origin)>,
    /// Its image as the file pins it, for people.
    pub image: String,
}

/// What only one run at a time may hold, unless the file shares it on purpose.
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
    /// What a run of this config holds.
    pub fn resources(&self) -> Vec<Resource> {
        let mounts = self.job.rootfs.mounts.iter().filter_map(|mount| match mount {
            Mount::Tmpfs { .. } => None,
            Mount::Volume { name, .. } => Some(Resource::Volume(name.clone())),
            Mount::Bind { source, .. } => Some(Resource::Bind(source.clone())),
        });
        std::iter::once(Resource::User(self.job.confinement.ids.uid)).chain(mounts).collect()
    }
}

/// What a running container needs to be stopped, and what it holds, by the config that it was started with: the next file may have
/// another one, or none.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// The signal that asks it to stop.
    pub stop_signal: u8,
    /// From the stop signal to SIGKILL.
    pub stop_grace_period: Duration,
    /// What it holds; `None`: not known, so it may be anything.
    pub resources: Option<Vec<Resource>>,
}

impl RunConfig {
    /// Of a run that no file describes.
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

/// What a container is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Run, as its restart policy says.
    Run,
    /// Stop now.
    Stop,
    /// Stop when the containers behind it in the file have stopped.
    StopInOrder,
    /// Be killed now.
    Kill,
}

/// What is desired of one container.
#[derive(Debug, Clone)]
pub struct Desired {
    /// What the file says; `None`: it does not have this container (an orphan).
    pub config: Option<Rc<ContainerConfig>>,
    /// What the container is to do.
    pub goal: Goal,
    /// Counts the starts that were asked for, by the file or by a verb: a run of an earlier generation is replaced.
    pub generation: u64,
}

/// What was observed of one container.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The run that is on its way, running, or ended with output left to read.
    pub run: Option<Run>,
    /// How it ended for good, and in which generation.
    pub end: Option<(u64, End)>,
    /// The newest generation whose first start has begun.
    pub begun: u64,
    /// No start before this moment.
    pub due: Option<Instant>,
    /// How its last run ended.
    pub exit: Option<Exit>,
    /// The helper keeps the record of that run: a later manager knows by it that the container is not to be run again.
    pub kept: bool,
    /// How often its policy has restarted it.
    pub restarts: u32,
    /// Its restarts in a row.
    pub backoff: Backoff,
    /// Why its last start failed.
    pub failure: Option<String>,
}

/// One run of a container.
#[derive(Debug, Clone)]
pub struct Run {
    /// The generation that it belongs to; 0: a run of an earlier manager by another config.
    pub generation: u64,
    /// How far it is.
    pub phase: Phase,
    /// Set once it was asked to stop.
    pub stop: Option<Stop>,
    /// When its payload was executed, nanoseconds since 1970; 0 before.
    pub started: u64,
    /// The digest of its job.
    pub digest: Digest,
    /// How it is stopped, and what it holds.
    pub config: RunConfig,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its layers are being proven.
    Proving,
    /// The helper was asked to start it.
    Starting,
    /// Its payload was executed.
    Running,
    /// Its pid 1 has ended; its output may not be read to the end yet.
    Exited(Exit),
}

/// How far the stop of a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its stop signal was sent; SIGKILL follows at this moment.
    Signalled(Instant),
    /// SIGKILL was sent.
    Killed,
}

/// How a container ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, and its policy leaves it so.
    Completed,
    /// It was asked to.
    Stopped,
    /// It ended more often than its policy restarts it.
    GaveUp,
    /// It could not be started; the exit code of the reason.
    StartFailed(Code),
}

/// One container.
#[derive(Debug, Clone)]
pub struct Container {
    /// What is desired; `None`: no file was applied yet, so a run of an earlier manager is left alone.
    pub desired: Option<Desired>,
    /// What was observed.
    pub observed: Observed,
}

impl Container {
    /// Whether its run is to end because the file has it otherwise, or not at all. What that run holds is not free before.
    pub fn is_leaving(&self) -> bool {
        let Some(run) = &self.observed.run else { return false };
        let Some(desired) = &self.desired else { return false };
        desired.config.as_ref().is_none_or(|config| config.job.digest != run.digest)
    }

    /// Whether it is to run.
    pub fn is_wanted(&self) -> bool {
        self.desired.as_ref().is_some_and(|desired| desired.goal == Goal::Run && desired.config.is_some())
    }

    /// How the generation that is desired ended for good.
    pub fn end(&self) -> Option<End> {
        let generation = self.desired.as_ref()?.generation;
        self.observed.end.filter(|(ended, _)| *ended == generation).map(|(_, end)| end)
    }

    /// Whether the first start of the generation that is desired has begun.
    pub fn has_begun(&self) -> bool {
        self.desired.as_ref().is_some_and(|desired| self.observed.begun == desired.generation)
    }

    /// Whether it does not run, and will not by itself.
    pub fn is_over(&self) -> bool {
        self.observed.run.is_none() && (self.end().is_some() || !self.is_wanted())
    }

    /// Whether it ended by itself, so that nothing but a new start by name or a new file would run it.
    pub fn is_over_for_good(&self) -> bool {
        self.is_over() && self.end().is_some_and(|end| end != End::Stopped)
    }

    /// Whether its first start is decided: its payload ran, or it cannot be started, or it is not to run.
    pub fn is_decided(&self) -> bool {
        let Some(desired) = &self.desired else { return false };
        let undecided =
            |run: &Run| run.generation != desired.generation || matches!(run.phase, Phase::Proving | Phase::Starting);
        match &self.observed.run {
            _ if desired.config.is_none() => false,
            Some(run) => !self.is_wanted() || !undecided(run) || self.observed.restarts > 0,
            None => !self.is_wanted() || self.end().is_some() || self.observed.restarts > 0,
        }
    }

    /// As [`Self::is_decided`], and its payload ran: a file of which a container cannot be started replaces no older one.
    pub fn is_up(&self) -> bool {
        self.is_decided() && !matches!(self.end(), Some(End::StartFailed(_)))
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
            (None, None) if self.desired.is_some() && !self.is_wanted() => "stopped",
            (_, None) if self.observed.restarts == 0 => "waiting",
            (_, None) => "restarting",
        }
    }

    /// The exit code that its end means for `casemate up`.
    pub fn exit_code(&self) -> Option<Code> {
        match self.end()? {
            End::StartFailed(code) => Some(code),
            End::GaveUp => Some(Code::Failed),
            End::Completed if self.observed.exit.is_none_or(|exit| exit.code != 0) => Some(Code::Failed),
            End::Completed | End::Stopped => None,
        }
    }
}
