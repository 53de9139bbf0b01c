//! The next action, from the containers that a change can affect.

use super::Table;
use crate::reconcile::{self, Action, Gate};
use crate::state::{Container, Phase, Run, RunConfig, StopProgress};
use casemate_wire::Name;
use std::time::Instant;

/// Starts in progress at a time, proofs included: more do not make them faster.
pub(super) const MAX_STARTS: usize = 8;

impl Table {
    /// Marks the containers whose wake time has come.
    pub fn wake(&mut self, now: Instant) {
        while self.wakes.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, name)) = self.wakes.pop_first() else { return };
            self.wake_of.remove(&name);
            self.marked.insert(name);
        }
    }

    /// When [`Self::wake`] is due.
    pub fn next_wake(&self) -> Option<Instant> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// The next action, recorded as in progress; `None`: nothing to do before the next change or wake time.
    pub fn step(&mut self, now: Instant) -> Option<(Name, Action)> {
        loop {
            let name = self.marked.pop_first().or_else(|| self.next_queued())?;
            let Some(container) = self.containers.get(&name) else { continue };
            let step = reconcile::next(container, self.gate(&name, container), now);
            self.set_wake(&name, step.wake);
            let Some(action) = step.action.filter(|action| self.may_begin(&name, *action)) else {
                self.remove_ended_orphan(&name);
                continue;
            };
            self.record_begin(&name, action, now);
            return Some((name, action));
        }
    }

    /// The next queued start, if fewer than [`MAX_STARTS`] are in progress.
    fn next_queued(&mut self) -> Option<Name> {
        if self.starting.len() >= MAX_STARTS {
            return None;
        }
        self.queued.pop_first().map(|(.., name)| name)
    }

    fn gate(&self, name: &Name, container: &Container) -> Gate {
        let get = |name: &Name| self.containers.get(name);
        let start_has_begun =
            |other: &Container| !other.should_run() || other.start_has_begun() || other.end().is_some();
        Gate {
            may_start: container.start_has_begun() || self.graph.start_after(name).filter_map(get).all(start_has_begun),
            may_stop: self.graph.stop_after(name).filter_map(get).all(Container::has_ended),
        }
    }

    /// Whether an action may begin. A start needs one of [`MAX_STARTS`] and resources that are not held; else it is queued.
    fn may_begin(&mut self, name: &Name, action: Action) -> bool {
        if !matches!(action, Action::Prove | Action::Start) || self.starting.contains(name) {
            return true;
        }
        let Some(container) = self.containers.get(name) else { return false };
        let config = container.desired.as_ref().and_then(|desired| desired.config.as_ref());
        if !config.is_some_and(|config| self.held.are_free(&config.resources())) {
            self.blocked.insert(name.clone());
            return false;
        }
        if self.starting.len() >= MAX_STARTS {
            let place =
                (container.start_has_begun(), container.observed.next_start, self.graph.position(name), name.clone());
            self.queued.insert(place);
            return false;
        }
        true
    }

    /// Records in the state that an action begins.
    fn record_begin(&mut self, name: &Name, action: Action, now: Instant) {
        match action {
            Action::Prove | Action::Start => {
                self.starting.insert(name.clone());
                self.change(name, |container| begin_run(container, action));
            }
            Action::AbandonProof => {
                self.change(name, |container| container.observed.run = None);
            }
            Action::SendStopSignal => {
                self.change(name, |container| {
                    if let Some(run) = &mut container.observed.run {
                        run.stop = Some(StopProgress::Signalled(now + run.config.stop_grace_period));
                    }
                });
            }
            Action::Kill => {
                self.change(name, |container| {
                    if let Some(run) = &mut container.observed.run {
                        run.stop = Some(StopProgress::Killed);
                    }
                });
            }
            Action::Forget => {
                self.change(name, |container| container.observed.record_kept = false);
            }
        }
    }

    fn set_wake(&mut self, name: &Name, wake: Option<Instant>) {
        if let Some(before) = self.wake_of.remove(name) {
            self.wakes.remove(&(before, name.clone()));
        }
        if let Some(wake) = wake {
            self.wake_of.insert(name.clone(), wake);
            self.wakes.insert((wake, name.clone()));
        }
    }

    /// Removes an orphan that has ended and that the helper has no record of.
    fn remove_ended_orphan(&mut self, name: &Name) {
        let is_removable = |container: &Container| {
            let orphan = container.desired.as_ref().is_some_and(|desired| desired.config.is_none());
            orphan && container.observed.run.is_none() && !container.observed.record_kept
        };
        if self.containers.get(name).is_some_and(is_removable)
            && let Some(container) = self.containers.remove(name)
        {
            self.counts.remove(&container);
            self.changed.insert(name.clone());
        }
    }
}

/// Adds the run of a start that begins with this action.
fn begin_run(container: &mut Container, action: Action) {
    let Some(desired) = &container.desired else { return };
    let Some(config) = &desired.config else { return };
    let phase = if action == Action::Prove { Phase::Proving } else { Phase::Starting };
    container.observed.begun_generation = desired.generation;
    container.observed.next_start = None;
    container.observed.run = Some(Run {
        generation: desired.generation,
        phase,
        stop: None,
        started: 0,
        config: RunConfig::from(&**config),
        digest: config.job.digest,
    });
}
