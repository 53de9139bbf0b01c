//! One container under supervision: what is wanted of it, what runs of it, and what has become of it.

use super::backoff::Backoff;
use crate::logs::{Bounds, Kind, Origin, Pump, Stream, Turn};
use casemate_error::Code;
use casemate_spec::Restart;
use casemate_wire::{Exit, Job, Name};
use rustix::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a pump that failed (a full disk) rests. Its container's pipe fills up meanwhile, nothing is lost.
const REST: Duration = Duration::from_secs(1);

/// What the file and the plan say about one container.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its start.
    pub job: Job,
    /// The files of its layers are proven before each start.
    pub prove_layers: bool,
    /// What follows its end.
    pub restart: Restart,
    /// The signal that asks it to end.
    pub stop_signal: u8,
    /// How long it may take to end.
    pub grace: Duration,
    /// How much of its output is kept.
    pub bounds: Bounds,
    /// The log of the host that gets its output too, and what that is told of it.
    pub host: Option<(Kind, Origin)>,
    /// Its image, for people.
    pub image: String,
}

/// Where a container stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// To be started at this moment.
    Waiting(Instant),
    /// It runs and is wanted to.
    Running,
    /// It was asked to end.
    Stopping {
        /// When it is killed; none: it was.
        kill_at: Option<Instant>,
        /// What is wanted then.
        then: Then,
    },
    /// It does not run, and will not by itself.
    Ended(Why),
}

/// What is wanted after a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Rest,
    /// A start.
    Start,
}

/// Why a container does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It has ended by itself, and its policy leaves it so.
    Completed,
    /// Somebody stopped it.
    Stopped,
    /// It ended too often.
    GaveUp,
    /// It could not be started: the exit code that stands for the reason.
    Failed(Code),
}

/// What the helper has of a container.
#[derive(Debug)]
pub struct Live {
    /// Its pid 1.
    pub pidfd: OwnedFd,
    /// When its payload was executed, nanoseconds since 1970.
    pub started: u64,
    /// How it has ended, once it has.
    pub exited: Option<Exit>,
    /// It runs by an earlier order than the container's, with the user that had: one that may be another's now.
    pub outdated: bool,
    pump: Pump,
    ended: [bool; 2],
    rests_until: Option<Instant>,
}

/// A pump's turn that went wrong, to be told once.
pub type Complaint = Option<String>;

impl Live {
    /// A container that the helper has just started or still has.
    pub fn new(pidfd: OwnedFd, started: u64, exited: Option<Exit>, pump: Pump) -> Self {
        Self { pidfd, started, exited, outdated: false, pump, ended: [false; 2], rests_until: None }
    }

    /// The streams that may have output, unless the pump rests.
    pub fn streams(&self) -> impl Iterator<Item = Stream> {
        let [out, err] = self.ended;
        let rests = self.rests_until.is_some();
        [(Stream::Stdout, out), (Stream::Stderr, err)]
            .into_iter()
            .filter(move |(_, ended)| !ended && !rests)
            .map(|(stream, _)| stream)
    }

    /// The pump.
    pub fn pump(&self) -> &Pump {
        &self.pump
    }

    /// The pump, to change what it keeps.
    pub fn pump_mut(&mut self) -> &mut Pump {
        &mut self.pump
    }

    /// When the pump wants to try again.
    pub fn rests_until(&self) -> Option<Instant> {
        self.rests_until
    }

    /// Ends the rest when it is over.
    pub fn wake(&mut self, now: Instant) {
        self.rests_until = self.rests_until.filter(|until| *until > now);
    }

    /// Moves one chunk; `true` when there was one.
    pub fn turn(&mut self, stream: Stream) -> (bool, Complaint) {
        let [out, err] = &mut self.ended;
        match self.pump.turn(stream) {
            Ok(Turn::Moved) => (true, None),
            Ok(Turn::Idle) => (false, None),
            Ok(Turn::Ended) => {
                *(if stream == Stream::Stdout { out } else { err }) = true;
                (false, None)
            }
            Err(error) => {
                self.rests_until = Some(Instant::now() + REST);
                (false, Some(error.to_string()))
            }
        }
    }
}

/// A container of the file, or one that the file no longer has and that is on its way out.
#[derive(Debug)]
pub struct Container {
    /// Its name.
    pub name: Name,
    /// None: the file no longer has it.
    pub order: Option<Order>,
    /// Where it stands.
    pub phase: Phase,
    /// What runs of it, or ran and was not yet read to the end.
    pub live: Option<Live>,
    /// The helper still has it, ended: so that a later manager knows that it is not to be run again.
    pub kept: bool,
    /// How it ended last.
    pub exit: Option<Exit>,
    /// How often it was started again by its policy.
    pub restarts: u32,
    /// Its restarts in a row.
    pub backoff: Backoff,
    /// Why its last start failed.
    pub failure: Option<String>,
}

impl Container {
    /// Wanted, and not started.
    pub fn new(name: Name, order: Option<Order>, now: Instant) -> Self {
        Self {
            name,
            order,
            phase: Phase::Waiting(now),
            live: None,
            kept: false,
            exit: None,
            restarts: 0,
            backoff: Backoff::default(),
            failure: None,
        }
    }

    /// The word of `ps`.
    pub fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Waiting(_) if self.restarts == 0 => "waiting",
            Phase::Waiting(_) => "restarting",
            Phase::Running => "running",
            Phase::Stopping { .. } => "stopping",
            Phase::Ended(Why::Completed) if self.exit.is_some_and(|exit| exit.code == 0) => "completed",
            Phase::Ended(Why::Completed) => "exited",
            Phase::Ended(Why::Stopped) => "stopped",
            Phase::Ended(Why::GaveUp | Why::Failed(_)) => "failed",
        }
    }

    /// It does not run and nothing is left to be read of it.
    pub fn is_over(&self) -> bool {
        self.live.is_none() && matches!(self.phase, Phase::Ended(_))
    }

    /// It is over, and nobody's `stop` is the reason: nothing but a new `up` would start it.
    pub fn is_over_for_good(&self) -> bool {
        self.is_over() && self.phase != Phase::Ended(Why::Stopped)
    }

    /// The exit code that its end means for `up`.
    pub fn verdict(&self) -> Option<Code> {
        match &self.phase {
            Phase::Ended(Why::Failed(code)) => Some(*code),
            Phase::Ended(Why::GaveUp) => Some(Code::Failed),
            Phase::Ended(Why::Completed) if self.exit.is_none_or(|exit| exit.code != 0) => Some(Code::Failed),
            _ => None,
        }
    }
}
