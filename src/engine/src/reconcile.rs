//! What has to be done about one container: pure functions of what is desired, what was observed, and the clock.
//!
//! [`next`] is asked whenever one of the three has changed. It answers with one action at most; the answer to that action, or the
//! moment that it names, is the next change.

use crate::state::{Container, Desired, End, Goal, Next, Observed, Phase, Run, Stop};
use casemate_wire::Exit;
use std::time::{Duration, Instant};

/// What other containers allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// Every container that has to begin before this one has, and nobody else holds what it needs.
    pub start: bool,
    /// Every container that has to stop before this one has.
    pub stop: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Prove the files of its layers.
    Prove,
    /// Forget the proof that is under way.
    AbandonProof,
    /// Start it.
    Start,
    /// Send its stop signal.
    SendStopSignal,
    /// Send SIGKILL to all of it.
    Kill,
    /// Have the helper free the record of its last run.
    Forget,
}

/// What is to be done now, and when to look again if nothing else happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// To be done now.
    pub action: Option<Action>,
    /// A moment that changes the answer.
    pub wake: Option<Instant>,
}

impl Step {
    const NOTHING: Self = Self { action: None, wake: None };

    const fn now(action: Action) -> Self {
        Self { action: Some(action), wake: None }
    }

    const fn at(wake: Instant) -> Self {
        Self { action: None, wake: Some(wake) }
    }
}

/// The next step of one container. Before the first file is applied nothing is done to what an earlier manager left.
pub fn next(container: &Container, gate: Gate, now: Instant) -> Step {
    let Some(desired) = &container.desired else { return Step::NOTHING };
    match &container.observed.run {
        Some(run) => of_run(desired, run, gate, now),
        None => of_rest(container, desired, gate, now),
    }
}

/// While there is a run: leave it, or stop it.
fn of_run(desired: &Desired, run: &Run, gate: Gate, now: Instant) -> Step {
    let wanted = desired.config.is_some() && run.generation == desired.generation && desired.goal == Goal::Run;
    match (run.phase, run.stop) {
        _ if wanted && run.stop.is_none() => Step::NOTHING,
        (Phase::Proving, _) => Step::now(Action::AbandonProof),
        // Its answer comes soon; its output is read to the end.
        (Phase::Starting | Phase::Exited(_), _) | (Phase::Running, Some(Stop::Killed)) => Step::NOTHING,
        (Phase::Running, _) if desired.goal == Goal::Kill => Step::now(Action::Kill),
        (Phase::Running, Some(Stop::Signalled(kill_at))) if kill_at <= now => Step::now(Action::Kill),
        (Phase::Running, Some(Stop::Signalled(kill_at))) => Step::at(kill_at),
        (Phase::Running, None) if desired.goal == Goal::StopInOrder && !gate.stop => Step::NOTHING,
        (Phase::Running, None) => Step::now(Action::SendStopSignal),
    }
}

/// While there is none: start it, or leave it, and have the helper forget the last one where its record says nothing any more.
fn of_rest(container: &Container, desired: &Desired, gate: Gate, now: Instant) -> Step {
    let end = container.end();
    let record_counts = desired.config.is_some() && matches!(end, Some(End::Completed | End::GaveUp));
    if container.observed.kept && !record_counts {
        return Step::now(Action::Forget);
    }
    let Some(config) = desired.config.as_ref().filter(|_| desired.goal == Goal::Run && end.is_none()) else {
        return Step::NOTHING;
    };
    match container.observed.due {
        Some(due) if due > now => Step::at(due),
        _ if !gate.start => Step::NOTHING,
        _ if config.prove_layers => Step::now(Action::Prove),
        _ => Step::now(Action::Start),
    }
}

/// What follows the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterExit {
    /// It is over.
    End(End),
    /// It is started again at once: by a verb, or by a file that has it otherwise.
    Replace,
    /// Its policy starts it again after this long.
    Restart(Duration),
}

/// Decides what follows the end of a run that was up for `ran`, and counts it.
pub fn after_exit(desired: &Desired, observed: &mut Observed, run: &Run, exit: Exit, ran: Duration) -> AfterExit {
    let wanted = desired.goal == Goal::Run;
    match &desired.config {
        Some(_) if wanted && run.generation != desired.generation => AfterExit::Replace,
        Some(config) if wanted => match observed.backoff.after(&config.restart, ran, exit.code) {
            Next::Ended => AfterExit::End(End::Completed),
            Next::GaveUp => AfterExit::End(End::GaveUp),
            Next::Again(wait) => AfterExit::Restart(wait),
        },
        _ => AfterExit::End(End::Stopped),
    }
}
