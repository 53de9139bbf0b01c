//! The next action for one container: pure functions of what is desired, what was observed, and the time.
//!
//! [`next`] is called after each change of one of the three. It returns at most one action; the result of that action, or the time that it
//! returns, is the next change.

use crate::state::{Container, Desired, DesiredState, End, Observed, Phase, RestartDecision, Run, StopProgress};
use casemate_wire::Exit;
use std::time::{Duration, Instant};

/// What the state of other containers allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// The first start of every container before this one has begun.
    pub may_start: bool,
    /// Every container that has to stop before this one has stopped.
    pub may_stop: bool,
}

/// An action on one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Prove its layers.
    Prove,
    /// Ignore the result of the proof in progress.
    AbandonProof,
    /// Start it.
    Start,
    /// Send its stop signal.
    SendStopSignal,
    /// Send SIGKILL to all its processes.
    Kill,
    /// Remove the helper's record of its last run.
    Forget,
}

/// The action to perform now, and when to call [`next`] again if nothing else changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// The action to perform now.
    pub action: Option<Action>,
    /// The time at which the result changes.
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

/// The next step of one container. Before the first file is applied, runs of an earlier manager are left alone.
pub fn next(container: &Container, gate: Gate, now: Instant) -> Step {
    let Some(desired) = &container.desired else { return Step::NOTHING };
    match &container.observed.run {
        Some(run) => next_with_run(desired, run, gate, now),
        None => next_without_run(container, desired, gate, now),
    }
}

/// The container has a run: leave it running, or stop it.
fn next_with_run(desired: &Desired, run: &Run, gate: Gate, now: Instant) -> Step {
    let should_run =
        desired.config.is_some() && run.generation == desired.generation && desired.state == DesiredState::Running;
    match (run.phase, run.stop) {
        _ if should_run && run.stop.is_none() => Step::NOTHING,
        (Phase::Proving, _) => Step::now(Action::AbandonProof),
        // Wait for the helper's reply, or for the end of the output.
        (Phase::Starting | Phase::Exited(_), _) | (Phase::Running, Some(StopProgress::Killed)) => Step::NOTHING,
        (Phase::Running, _) if desired.state == DesiredState::Killed => Step::now(Action::Kill),
        (Phase::Running, Some(StopProgress::Signalled(kill_at))) if kill_at <= now => Step::now(Action::Kill),
        (Phase::Running, Some(StopProgress::Signalled(kill_at))) => Step::at(kill_at),
        (Phase::Running, None) if desired.state == DesiredState::StoppedInOrder && !gate.may_stop => Step::NOTHING,
        (Phase::Running, None) => Step::now(Action::SendStopSignal),
    }
}

/// The container has no run: start it if it shall run. Forget the record of its last run unless a later manager needs it.
fn next_without_run(container: &Container, desired: &Desired, gate: Gate, now: Instant) -> Step {
    let end = container.end();
    let record_is_needed = desired.config.is_some() && matches!(end, Some(End::Completed | End::GaveUp));
    if container.observed.record_kept && !record_is_needed {
        return Step::now(Action::Forget);
    }
    let Some(config) = desired.config.as_ref().filter(|_| desired.state == DesiredState::Running && end.is_none())
    else {
        return Step::NOTHING;
    };
    match container.observed.next_start {
        Some(next_start) if next_start > now => Step::at(next_start),
        _ if !gate.may_start => Step::NOTHING,
        _ if config.prove_layers => Step::now(Action::Prove),
        _ => Step::now(Action::Start),
    }
}

/// What happens after a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterExit {
    /// The container has ended for good.
    End(End),
    /// It is started again at once: a verb requested it, or the file has changed.
    Replace,
    /// Its policy restarts it after this delay.
    Restart(Duration),
}

/// Decides what happens after a run that lasted `ran`, and counts the restart.
pub fn after_exit(desired: &Desired, observed: &mut Observed, run: &Run, exit: Exit, ran: Duration) -> AfterExit {
    let should_run = desired.state == DesiredState::Running;
    match &desired.config {
        Some(_) if should_run && run.generation != desired.generation => AfterExit::Replace,
        Some(config) if should_run => match observed.backoff.after(&config.restart, ran, exit.code) {
            RestartDecision::NoRestart => AfterExit::End(End::Completed),
            RestartDecision::GiveUp => AfterExit::End(End::GaveUp),
            RestartDecision::RestartAfter(wait) => AfterExit::Restart(wait),
        },
        _ => AfterExit::End(End::Stopped),
    }
}
