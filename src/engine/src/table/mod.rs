//! The table of containers: file changes, verbs and the helper's replies go in, and one action after another comes out. No I/O, and time
//! is an argument.
//!
//! Every change marks the containers that it can affect, and [`Table::step`] checks only those: the work per event does not grow with
//! the number of containers.

mod actions;
mod counts;
mod desired;
mod observed;
#[cfg(test)]
mod tests;

pub use desired::Change;

use crate::graph::{Graph, HeldResources};
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
    held: HeldResources,
    marked: BTreeSet<Name>,
    /// Changed since the last [`Table::take_changed`].
    changed: BTreeSet<Name>,
    /// Containers whose start waits for a held resource.
    blocked: BTreeSet<Name>,
    /// Starts that wait for one of [`MAX_STARTS`]: first starts before restarts, then by due time and file order.
    queued: BTreeSet<(bool, Option<Instant>, usize, Name)>,
    starting: BTreeSet<Name>,
    wakes: BTreeSet<(Instant, Name)>,
    wake_of: BTreeMap<Name, Instant>,
    counts: Counts,
    stopping: bool,
}

impl Table {
    /// `order`: that of the last applied file, in which containers of an earlier manager are stopped.
    pub fn new(order: Graph) -> Self {
        Self { graph: order, ..Self::default() }
    }

    /// The container of this name.
    pub fn get(&self, name: &Name) -> Option<&Container> {
        self.containers.get(name)
    }

    /// All containers: those of the file in file order, then orphans.
    ///
    /// The status of a service takes a few of them in every turn of the event loop, so this sorts nothing.
    pub fn in_order(&self) -> impl Iterator<Item = (&Name, &Container)> {
        let of_file = self.graph.names().filter_map(|name| self.containers.get_key_value(name));
        let orphans = self.containers.iter().filter(|(name, _)| self.graph.position(name) == usize::MAX);
        of_file.chain(orphans)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.containers.keys()
    }

    /// Containers that have changed since the last call, removed ones included.
    pub fn take_changed(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.changed)
    }

    /// Whether all containers are being stopped.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether no container runs or is going to be started.
    pub fn all_ended(&self) -> bool {
        self.counts.not_ended == 0
    }

    /// Whether every container has ended by itself.
    pub fn all_ended_by_themselves(&self) -> bool {
        self.counts.not_ended_by_itself == 0
    }

    /// Whether the first start of every container has a result, and no orphan is left.
    pub fn all_starts_decided(&self) -> bool {
        self.counts.undecided == 0
    }

    /// Whether every container of the file has come up.
    pub fn all_came_up(&self) -> bool {
        self.counts.not_up == 0
    }

    /// Changes one container, and marks the containers that this can affect.
    fn change<T>(&mut self, name: &Name, change: impl FnOnce(&mut Container) -> T) -> Option<T> {
        let container = self.containers.get_mut(name)?;
        self.counts.remove(container);
        let result = change(container);
        self.counts.add(container);
        let freed = match &container.observed.run {
            Some(run) if container.is_outdated() && run.phase != Phase::Proving => {
                self.held.insert(name, run.config.resources.as_deref());
                false
            }
            _ => self.held.remove(name),
        };
        let run = container.observed.run.as_ref();
        if run.is_none_or(|run| !matches!(run.phase, Phase::Proving | Phase::Starting)) {
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
