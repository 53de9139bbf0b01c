//! Changes of the desired state: by an applied file, and by verbs.

use super::Table;
use crate::graph::Graph;
use crate::state::{Container, ContainerConfig, Desired, DesiredState, RunConfig};
use casemate_wire::Name;
use std::rc::Rc;

/// What an applied file changes for one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its config is unchanged: it is left as it is.
    Unchanged,
    /// Its config has changed: its run is replaced.
    Replaced,
    /// It is new in the file.
    Added,
    /// The file does not have it.
    Orphaned,
}

impl Table {
    /// Applies the configs of a file, in file order. Unchanged containers are left as they are.
    pub fn apply(&mut self, configs: Vec<ContainerConfig>) -> Vec<(Name, Change)> {
        let graph = Graph::from_order(configs.iter().map(|config| &config.job.name));
        let mut changes = Vec::new();
        let orphans: Vec<Name> =
            self.containers.keys().filter(|name| graph.position(name) == usize::MAX).cloned().collect();
        self.graph = graph;
        for config in configs {
            let name = config.job.name.clone();
            self.insert(&name);
            let change = self.change(&name, |container| set_config(container, config));
            changes.extend(change.map(|change| (name, change)));
        }
        for name in orphans {
            let change = self.change(&name, |container| {
                let was_orphan = container.desired.as_ref().is_some_and(|desired| desired.config.is_none());
                let generation = container.desired.as_ref().map_or(1, |desired| desired.generation);
                container.desired = Some(Desired { config: None, state: DesiredState::Stopped, generation });
                (!was_orphan).then_some(Change::Orphaned)
            });
            changes.extend(change.flatten().map(|change| (name, change)));
        }
        changes
    }

    /// Starts a container unless it runs.
    pub fn start(&mut self, name: &Name) {
        self.change(name, |container| {
            let runs = container.should_run() && container.observed.run.as_ref().is_some_and(|run| run.stop.is_none());
            if !runs {
                restart(container);
            }
        });
    }

    /// Stops a container and starts it again.
    pub fn restart(&mut self, name: &Name) {
        self.change(name, restart);
    }

    /// Stops a container.
    pub fn stop(&mut self, name: &Name) {
        self.change(name, |container| {
            container.observed.backoff.reset();
            if let Some(desired) = &mut container.desired {
                desired.state = DesiredState::Stopped;
            }
        });
    }

    /// Stops all containers in reverse file order.
    pub fn stop_all(&mut self) {
        self.stopping = true;
        self.set_all(DesiredState::StoppedInOrder);
    }

    /// Kills all containers.
    pub fn kill_all(&mut self) {
        self.stopping = true;
        self.set_all(DesiredState::Killed);
    }

    fn set_all(&mut self, state: DesiredState) {
        let names: Vec<Name> = self.containers.keys().cloned().collect();
        for name in names {
            self.change(&name, |container| match &mut container.desired {
                Some(desired) => desired.state = state,
                None => container.desired = Some(Desired { config: None, state, generation: 1 }),
            });
        }
    }
}

/// Sets the config of a container from a file.
fn set_config(container: &mut Container, config: ContainerConfig) -> Change {
    let digest = config.job.digest;
    let config = Rc::new(config);
    let Some(before) = container.desired.take() else {
        return set_first_config(container, config);
    };
    if before.config.as_ref().is_some_and(|known| known.job.digest == digest) {
        container.desired = Some(Desired { config: Some(config), ..before });
        return Change::Unchanged;
    }
    // A container that a verb has stopped stays stopped; a former orphan runs again.
    let stays_stopped = before.config.is_some() && before.state == DesiredState::Stopped;
    let state = if stays_stopped { DesiredState::Stopped } else { DesiredState::Running };
    container.desired = Some(Desired { config: Some(config), state, generation: before.generation + 1 });
    container.observed.failure = None;
    container.observed.next_start = None;
    container.observed.backoff.reset();
    Change::Replaced
}

/// Sets the config of a new container, or of one that an earlier manager started.
fn set_first_config(container: &mut Container, config: Rc<ContainerConfig>) -> Change {
    const FIRST: u64 = 1;
    let change = match &mut container.observed.run {
        None => Change::Added,
        Some(run) if run.digest == config.job.digest => {
            run.generation = FIRST;
            run.config = RunConfig::from(&*config);
            container.observed.begun_generation = FIRST;
            Change::Unchanged
        }
        Some(_) => Change::Replaced,
    };
    container.desired = Some(Desired { config: Some(config), state: DesiredState::Running, generation: FIRST });
    change
}

fn restart(container: &mut Container) {
    container.observed.backoff.reset();
    container.observed.next_start = None;
    if let Some(desired) = &mut container.desired {
        desired.state = DesiredState::Running;
        desired.generation += 1;
    }
}
