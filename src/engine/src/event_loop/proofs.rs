//! Proofs of layers before a start (`store.verify = "start"`), as background work.

use super::{EventLoop, WorkResult};
use crate::state::{DesiredState, Phase};
use casemate_error::{Code, Error};
use casemate_image::store::verify;
use casemate_wire::Name;
use std::collections::VecDeque;
use std::sync::Arc;

/// Proofs in progress at a time: each reads whole layers, and two keep two processors busy.
const MAX_PROOFS: usize = 2;

/// Containers whose layers are to be proven.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    waiting: VecDeque<Name>,
    in_progress: usize,
}

impl Proofs {
    /// Queues the proof of a container's layers.
    pub fn add(&mut self, name: &Name) {
        self.waiting.push_back(name.clone());
    }

    /// Removes a queued proof; the result of one in progress is ignored.
    pub fn remove(&mut self, name: &Name) {
        self.waiting.retain(|waiting| waiting != name);
    }

    /// A proof in progress has ended.
    pub fn finished(&mut self) {
        self.in_progress -= 1;
    }
}

impl EventLoop {
    /// Begins waiting proofs, up to [`MAX_PROOFS`].
    pub(super) fn start_proofs(&mut self) {
        while self.proofs.in_progress < MAX_PROOFS
            && let Some(name) = self.proofs.waiting.pop_front()
        {
            let Some(container) = self.table.get(&name) else { continue };
            let Some(desired) = &container.desired else { continue };
            let Some(config) = &desired.config else { continue };
            let layers = config.job.rootfs.layers.clone();
            let generation = desired.generation;
            let context = Arc::clone(&self.context);
            let proven = name.clone();
            let prove = move |interrupt| {
                let result = context.connect(&interrupt).and_then(|mut client| {
                    let directories = &context.session.directories;
                    let stores = directories.read_only_stores();
                    verify::verify_layers(&mut client, &directories.state, stores, &layers).map_err(Error::from)
                });
                let result = result.map_err(|error| (error.code(), error.to_string()));
                WorkResult::Proven { name: proven, generation, result }
            };
            match self.spawn_background(prove) {
                Ok(()) => self.proofs.in_progress += 1,
                Err(error) => self.start_failed(&name, error.code(), error.to_string()),
            }
        }
    }

    /// Starts the container whose layers are proven, unless the start was cancelled.
    pub(super) fn layers_proven(
        &mut self,
        name: &Name,
        generation: u64,
        result: Result<(), (Code, String)>,
    ) -> Result<(), Error> {
        let is_current = self.table.get(name).is_some_and(|container| {
            let run = container.observed.run.as_ref();
            run.is_some_and(|run| run.phase == Phase::Proving && run.generation == generation)
                && container.desired.as_ref().is_some_and(|desired| desired.state == DesiredState::Running)
        });
        match result {
            _ if !is_current => Ok(()),
            Ok(()) if self.table.proven(name) => self.start(name),
            Ok(()) => Ok(()),
            Err((code, reason)) => {
                self.start_failed(name, code, reason);
                Ok(())
            }
        }
    }
}
