//! The table of containers: what files and verbs ask for goes in, what the helper answers goes in, and what is to be done comes out,
//! one action after another. Nothing here does I/O or reads a clock.
//!
//! Every change marks the containers that it can concern; [`Table::step`] looks at those alone, so that the work of one event does not
//! grow with the number of containers.

mod counts;
mod desires;
mod observations;
mod steps;
#[cfg(test)]
mod tests;

pub use desires::Change;

use crate::graph::{Graph, Leaving};
use crate::state::{Container, Observed, Phase};
use casemate_wire::Name;
use counts::Counts;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Every container by its name.
#[derive(Debug, Default)]
pub struct Table {
    containers: BTreeMap<Name, Container>,
    graph: Graph,
    leaving: Leaving,
    marked: BTreeSet<Name>,
    /// Changed since [`Table::take_changed`] was asked last.
    changed: BTreeSet<Name>,
    /// Wait for what a leaving run holds.
    blocked: BTreeSet<Name>,
    /// Wait for one of [`MAX_STARTS`]: first starts before restarts, then by the moment since when they are due.
    queued: BTreeSet<(bool, Option<Instant>, usize, Name)>,
    starting: BTreeSet<Name>,
    wakes: BTreeSet<(Instant, Name)>,
    wake_of: BTreeMap<Name, Instant>,
    counts: Counts,
    closing: bool,
}

impl Table {
    /// With the order of the file that was applied last, by which an earlier manager's containers are stopped.
    pub fn new(order: Graph) -> Self {
        Self { graph: order, ..Self::default() }
    }

    /// The container of this name.
    pub fn get(&self, name: &Name) -> Option<&Container> {
        self.containers.get(name)
    }

    /// All containers: those of the file in its order, then orphans.
    pub fn in_order(&self) -> Vec<(&Name, &Container)> {
        let mut all: Vec<_> = self.containers.iter().collect();
        all.sort_by_key(|(name, _)| self.graph.position(name));
        all
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.containers.keys()
    }

    /// The names of the containers that have changed since the last call, those that are gone included.
    pub fn take_changed(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.changed)
    }

    /// Whether everything is to be stopped.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether no container runs or will by itself.
    pub fn all_over(&self) -> bool {
        self.counts.not_over == 0
    }

    /// Whether every container ended by itself.
    pub fn all_over_for_good(&self) -> bool {
        self.counts.not_over_for_good == 0
    }

    /// Whether the first start of every container is decided, and no orphan is left.
    pub fn all_decided(&self) -> bool {
        self.counts.undecided == 0
    }

    /// Whether every container of the file was started.
    pub fn all_up(&self) -> bool {
        self.counts.not_up == 0
    }

    /// Changes one container, and marks what that can concern.
    fn change<T>(&mut self, name: &Name, change: impl FnOnce(&mut Container) -> T) -> Option<T> {
        let container = self.containers.get_mut(name)?;
        self.counts.remove(container);
        let result = change(container);
        self.counts.add(container);
        let freed = match &container.observed.run {
            Some(run) if container.is_leaving() && run.phase != Phase::Proving => {
                self.leaving.insert(name, run.config.resources.as_deref());
                false
            }
            _ => self.leaving.remove(name),
        };
        let under_way = container.observed.run.as_ref();
        if under_way.is_none_or(|run| !matches!(run.phase, Phase::Proving | Phase::Starting)) {
            self.starting.remove(name);
        }
        if freed {
            self.marked.append(&mut self.blocked);
        }
        self.changed.insert(name.clone());
        self.marked.insert(name.clone());
        self.marked.extend(self.graph.neighbours(name).cloned());
        Some(result)
    }

    fn insert(&mut self, name: &Name) {
        if !self.containers.contains_key(name) {
            let container = Container { desired: None, observed: Observed::default() };
            self.counts.add(&container);
            self.containers.insert(name.clone(), container);
        }
    }
}
