//! What is to be done: one action after another for the containers that a change may concern.

use super::Table;
use crate::reconcile::{self, Action, Gate};
use crate::state::{Container, Phase, Run, RunConfig, Stop};
use casemate_wire::Name;
use std::time::Instant;

/// Starts under way at a time, proofs included: more of them make none of them faster.
pub(super) const MAX_STARTS: usize = 8;

impl Table {
    /// Marks the containers whose moment has come.
    pub fn wake(&mut self, now: Instant) {
        while self.wakes.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, name)) = self.wakes.pop_first() else { return };
            self.wake_of.remove(&name);
            self.marked.insert(name);
        }
    }

    /// The next moment at which [`Self::wake`] has something to do.
    pub fn next_wake(&self) -> Option<Instant> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// The next action, already noted as being under way; `None`: nothing is to be done before the next change or moment.
    pub fn step(&mut self, now: Instant) -> Option<(Name, Action)> {
        loop {
            let name = self.marked.pop_first().or_else(|| self.next_queued())?;
            let Some(container) = self.containers.get(&name) else { continue };
            let step = reconcile::next(container, self.gate(&name, container), now);
            self.set_wake(&name, step.wake);
            let Some(action) = step.action.filter(|action| self.may_take_up(&name, *action)) else {
                self.remove_if_gone(&name);
                continue;
            };
            self.take_up(&name, action, now);
            return Some((name, action));
        }
    }

    /// A start that waits for a free place, if one is free.
    fn next_queued(&mut self) -> Option<Name> {
        if self.starting.len() >= MAX_STARTS {
            return None;
        }
        self.queued.pop_first().map(|(.., name)| name)
    }

    fn gate(&self, name: &Name, container: &Container) -> Gate {
        let get = |name: &Name| self.containers.get(name);
        let has_begun = |other: &Container| !other.is_wanted() || other.has_begun() || other.end().is_some();
        Gate {
            start: container.has_begun() || self.graph.start_after(name).filter_map(get).all(has_begun),
            stop: self.graph.stop_after(name).filter_map(get).all(Container::is_over),
        }
    }

    /// A start takes a place among those under way, and needs what no leaving run holds.
    fn may_take_up(&mut self, name: &Name, action: Action) -> bool {
        if !matches!(action, Action::Prove | Action::Start) || self.starting.contains(name) {
            return true;
        }
        let Some(container) = self.containers.get(name) else { return false };
        let config = container.desired.as_ref().and_then(|desired| desired.config.as_ref());
        if !config.is_some_and(|config| self.leaving.leaves_free(&config.resources())) {
            self.blocked.insert(name.clone());
            return false;
        }
        if self.starting.len() >= MAX_STARTS {
            let place = (container.has_begun(), container.observed.due, self.graph.position(name), name.clone());
            self.queued.insert(place);
            return false;
        }
        true
    }

    fn take_up(&mut self, name: &Name, action: Action, now: Instant) {
        match action {
            Action::Prove | Action::Start => {
                self.starting.insert(name.clone());
                self.change(name, |container| begin(container, action));
            }
            Action::AbandonProof => {
                self.change(name, |container| container.observed.run = None);
            }
            Action::SendStopSignal => {
                self.change(name, |container| {
                    if let Some(run) = &mut container.observed.run {
                        run.stop = Some(Stop::Signalled(now + run.config.stop_grace_period));
                    }
                });
            }
            Action::Kill => {
                self.change(name, |container| {
                    if let Some(run) = &mut container.observed.run {
                        run.stop = Some(Stop::Killed);
                    }
                });
            }
            Action::Forget => {
                self.change(name, |container| container.observed.kept = false);
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

    /// An orphan that is over, and of which the helper has nothing any more, is not in the table any more.
    fn remove_if_gone(&mut self, name: &Name) {
        let gone = |container: &Container| {
            let orphan = container.desired.as_ref().is_some_and(|desired| desired.config.is_none());
            orphan && container.observed.run.is_none() && !container.observed.kept
        };
        if self.containers.get(name).is_some_and(gone)
            && let Some(container) = self.containers.remove(name)
        {
            self.counts.remove(&container);
            self.changed.insert(name.clone());
        }
    }
}

/// Notes a proof or a start as being under way.
fn begin(container: &mut Container, action: Action) {
    let Some(desired) = &container.desired else { return };
    let Some(config) = &desired.config else { return };
    let phase = if action == Action::Prove { Phase::Proving } else { Phase::Starting };
    container.observed.begun = desired.generation;
    container.observed.due = None;
    container.observed.run = Some(Run {
        generation: desired.generation,
        phase,
        stop: None,
        started: 0,
        config: RunConfig::from(&**config),
        digest: config.job.digest,
    });
}
