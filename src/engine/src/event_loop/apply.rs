//! Files: preparing in the background, applying, reloading, and image collection afterwards.

use super::{EventLoop, RunMode, WorkResult};
use crate::events::{ContainerEvent, Event};
use crate::logs::manager_log;
use crate::prepare::{self, Prepared};
use crate::table::Change;
use crate::{collect, file};
use casemate_error::{Code, Error};
use std::sync::Arc;

impl EventLoop {
    /// Prepares the first file of this manager in the background.
    pub fn prepare_first(
        &mut self,
        file: file::SpecFile,
        facts: Vec<crate::plan::ContainerFacts>,
    ) -> Result<(), Error> {
        let context = Arc::clone(&self.context);
        self.preparing = true;
        self.spawn_background(move |interrupt| {
            WorkResult::Prepared(prepare::prepare_first(&context, &file, &facts, &interrupt))
        })
    }

    /// Begins a requested reload, and image collection once the containers are up.
    pub(super) fn begin_requested_work(&mut self) {
        if std::mem::take(&mut self.reload_requested) {
            self.begin_reload();
        }
        let up = self.applied && !self.table.is_stopping() && self.table.all_came_up();
        if up && self.collect_requested && !self.collecting {
            self.collect_requested = false;
            if collect::is_needed(&self.context) {
                let context = Arc::clone(&self.context);
                let run = move |interrupt| {
                    collect::run(&context, &interrupt);
                    WorkResult::Collected
                };
                match self.spawn_background(run) {
                    Ok(()) => self.collecting = true,
                    Err(error) => log::warn!("{error}"),
                }
            }
        }
    }

    fn begin_reload(&mut self) {
        let refusal = match self.mode {
            _ if self.table.is_stopping() => Some(("all containers are being stopped", Code::Failed)),
            RunMode::Foreground => {
                Some(("`casemate up` does not reload its file: stop it and start it again", Code::Usage))
            }
            RunMode::Stop => Some(("all containers are being stopped", Code::Failed)),
            RunMode::Service if self.preparing => {
                // One reload at a time: this one begins after the current one.
                self.reload_requested = true;
                return;
            }
            RunMode::Service => None,
        };
        if let Some((reason, code)) = refusal {
            return self.refuse_reload(reason, code);
        }
        self.status.reloading();
        Event::Reloading { file: self.file.display().to_string() }.log();
        let context = Arc::clone(&self.context);
        let path = self.file.clone();
        let connected = self.forwarding.connected();
        let log = manager_log::host_log();
        let run = move |interrupt| {
            WorkResult::Prepared(prepare::prepare_reload(&context, &path, &connected, log, &interrupt))
        };
        match self.spawn_background(run) {
            Ok(()) => self.preparing = true,
            Err(error) => self.not_reloaded(&[error]),
        }
    }

    pub(super) fn spawn_background(
        &mut self,
        work: impl FnOnce(crate::background::Interrupt) -> WorkResult + Send + 'static,
    ) -> Result<(), Error> {
        self.background.spawn(work).map_err(|error| Error::new(Code::Failed, "manager", "start a thread", error))
    }

    /// Handles the results of background work.
    pub(super) fn handle_results(&mut self) -> Result<(), Error> {
        for result in self.background.take_results() {
            match result {
                WorkResult::Prepared(prepared) => self.prepared = Some(prepared),
                WorkResult::Proven { name, generation, result } => {
                    self.proofs.finished();
                    self.layers_proven(&name, generation, result)?;
                }
                WorkResult::Collected => self.collecting = false,
            }
        }
        Ok(())
    }

    /// Applies a prepared file once all containers of an earlier manager are adopted.
    pub(super) fn apply_prepared(&mut self) {
        if !self.is_adopted() {
            return;
        }
        let Some(prepared) = self.prepared.take() else { return };
        self.preparing = false;
        match prepared {
            // A stop began in the meantime: start nothing.
            _ if self.table.is_stopping() => {}
            Ok(prepared) => self.apply(prepared),
            Err(errors) if !self.applied => {
                let (reason, code) = summary(&errors);
                self.refuse_waiting(&format!("the file is not applied: {reason}"), code);
                self.not_applied = Some(errors);
            }
            Err(errors) => self.not_reloaded(&errors),
        }
    }

    fn apply(&mut self, prepared: Prepared) {
        let file = prepared.file.display().to_string();
        let first = !std::mem::replace(&mut self.applied, true);
        if let Some(forwarder) = prepared.manager_log {
            manager_log::open(forwarder, false);
        }
        self.forwarding.connect(prepared.forwarders);
        self.console.set_names(prepared.configs.iter().map(|config| &config.job.name));
        if !first {
            Event::Applied { revision: prepared.revision.to_string(), file }.log();
        }
        for config in &prepared.configs {
            let name = &config.job.name;
            if let Some(output) = self.outputs.get_mut(name) {
                self.forwarding.set(name, config.host_log.clone());
                output.set_bounds(config.log_bounds);
            }
        }
        for (name, change) in self.table.apply(prepared.configs) {
            let runs = self.table.get(&name).is_some_and(|container| container.observed.run.is_some());
            match change {
                Change::Unchanged if first && runs => Event::of(&name, ContainerEvent::TakenOver).log(),
                Change::Unchanged | Change::Added => {}
                Change::Replaced => Event::of(&name, ContainerEvent::Replaced).log(),
                Change::Orphaned => {
                    self.forwarding.set(&name, None);
                    Event::of(&name, ContainerEvent::Orphaned).log();
                }
            }
        }
        self.collect_requested = true;
    }

    /// Keeps the applied file. Logs all errors, and answers the reload requests with the first.
    fn not_reloaded(&mut self, errors: &[Error]) {
        errors.iter().for_each(|error| log::error!("{error}"));
        Event::NotApplied { file: self.file.display().to_string() }.log();
        let (reason, code) = summary(errors);
        self.refuse_reload(&reason, code);
    }
}

/// The first error, and how many more there are.
fn summary(errors: &[Error]) -> (String, Code) {
    let first = errors.first().map(ToString::to_string).unwrap_or_default();
    let reason = match errors.len() {
        0 | 1 => first,
        count => format!("{first}; and {} more, which the manager's log has", count - 1),
    };
    (reason, errors.first().map_or(Code::Failed, Error::code))
}
