//! What is asked of the containers: by files, and by verbs.

use super::Table;
use crate::graph::Graph;
use crate::state::{Container, ContainerConfig, Desired, Goal, RunConfig};
use casemate_wire::Name;
use std::rc::Rc;

/// What an applied file means for one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The file has it as it is; what has become of it stays.
    Same,
    /// The file has it otherwise: its run is replaced.
    Replaced,
    /// It is new in the file.
    Added,
    /// The file does not have it (any more).
    Orphaned,
}

impl Table {
    /// Applies the configs of a file, in its order. What is the same is left alone, whatever has become of it.
    pub fn apply(&mut self, configs: Vec<ContainerConfig>) -> Vec<(Name, Change)> {
        let graph = Graph::of_order(configs.iter().map(|config| &config.job.name));
        let mut changes = Vec::new();
        let gone: Vec<Name> =
            self.containers.keys().filter(|name| graph.position(name) == usize::MAX).cloned().collect();
        self.graph = graph;
        for config in configs {
            let name = config.job.name.clone();
            self.insert(&name);
            let change = self.change(&name, |container| desire(container, config));
            changes.extend(change.map(|change| (name, change)));
        }
        for name in gone {
            let change = self.change(&name, |container| {
                let known = container.desired.as_ref().is_some_and(|desired| desired.config.is_none());
                let generation = container.desired.as_ref().map_or(1, |desired| desired.generation);
                let goal = Goal::Stop;
                container.desired = Some(Desired { config: None, goal, generation });
                (!known).then_some(Change::Orphaned)
            });
            changes.extend(change.flatten().map(|change| (name, change)));
        }
        changes
    }

    /// Has a container run: a new start, unless it runs already.
    pub fn start(&mut self, name: &Name) {
        self.change(name, |container| {
            let runs = container.is_wanted() && container.observed.run.as_ref().is_some_and(|run| run.stop.is_none());
            if !runs {
                restart(container);
            }
        });
    }

    /// Has a container stop, and start again.
    pub fn restart(&mut self, name: &Name) {
        self.change(name, restart);
    }

    /// Has a container stop.
    pub fn stop(&mut self, name: &Name) {
        self.change(name, |container| {
            container.observed.backoff.reset();
            if let Some(desired) = &mut container.desired {
                desired.goal = Goal::Stop;
            }
        });
    }

    /// Has everything stop, in reverse order of the file.
    pub fn close(&mut self) {
        self.closing = true;
        self.all_to(Goal::StopInOrder);
    }

    /// Has everything be killed.
    pub fn kill(&mut self) {
        self.closing = true;
        self.all_to(Goal::Kill);
    }

    fn all_to(&mut self, goal: Goal) {
        let names: Vec<Name> = self.containers.keys().cloned().collect();
        for name in names {
            self.change(&name, |container| match &mut container.desired {
                Some(desired) => desired.goal = goal,
                None => container.desired = Some(Desired { config: None, goal, generation: 1 }),
            });
        }
    }
}

/// Has a container be as its file says now.
fn desire(container: &mut Container, config: ContainerConfig) -> Change {
    let digest = config.job.digest;
    let config = Rc::new(config);
    let Some(before) = container.desired.take() else {
        return desire_first(container, config);
    };
    if before.config.as_ref().is_some_and(|known| known.job.digest == digest) {
        container.desired = Some(Desired { config: Some(config), ..before });
        return Change::Same;
    }
    // What a verb has stopped stays stopped; what an older file did not have runs again.
    let stays_stopped = before.config.is_some() && before.goal == Goal::Stop;
    let goal = if stays_stopped { Goal::Stop } else { Goal::Run };
    container.desired = Some(Desired { config: Some(config), goal, generation: before.generation + 1 });
    container.observed.restarts = 0;
    container.observed.failure = None;
    container.observed.due = None;
    container.observed.backoff.reset();
    Change::Replaced
}

/// The same for a container that no file was applied for: a new one, or one that an earlier manager has left.
fn desire_first(container: &mut Container, config: Rc<ContainerConfig>) -> Change {
    const FIRST: u64 = 1;
    let change = match &mut container.observed.run {
        None => Change::Added,
        Some(run) if run.digest == config.job.digest => {
            run.generation = FIRST;
            run.config = RunConfig::from(&*config);
            container.observed.begun = FIRST;
            Change::Same
        }
        Some(_) => Change::Replaced,
    };
    container.desired = Some(Desired { config: Some(config), goal: Goal::Run, generation: FIRST });
    change
}

fn restart(container: &mut Container) {
    container.observed.backoff.reset();
    container.observed.due = None;
    if let Some(desired) = &mut container.desired {
        desired.goal = Goal::Run;
        desired.generation += 1;
    }
}
