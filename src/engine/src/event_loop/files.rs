//! Files: prepared, applied and cleaned up after, and layers proven, by work beside the loop that reports here.

use super::{EventLoop, Report, RunMode};
use crate::events::{ContainerEvent, Event};
use crate::logs::manager_log;
use crate::prepare::{self, Prepared};
use crate::state::{Goal, Phase};
use crate::table::Change;
use crate::{collect, file};
use casemate_error::{Code, Error};
use casemate_image::store::verify;
use casemate_wire::Name;
use std::collections::VecDeque;
use std::sync::Arc;

/// Proofs under way at a time: each reads whole layers, and two keep two processors busy.
const MAX_PROOFS: usize = 2;

/// Containers whose layers are to be proven.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    waiting: VecDeque<Name>,
    under_way: usize,
}

impl Proofs {
    /// Adds one.
    pub fn want(&mut self, name: &Name) {
        self.waiting.push_back(name.clone());
    }

    /// Takes one away that has not begun; the report of one that has is not listened to.
    pub fn abandon(&mut self, name: &Name) {
        self.waiting.retain(|waiting| waiting != name);
    }
}

impl EventLoop {
    /// Prepares the file that this manager begins with.
    pub fn prepare_first(
        &mut self,
        file: file::SpecFile,
        facts: Vec<crate::plan::ContainerFacts>,
    ) -> Result<(), Error> {
        let context = Arc::clone(&self.context);
        self.preparing = true;
        self.spawn(move |interrupt| Report::Prepared(prepare::first(&context, &file, &facts, &interrupt)))
    }

    /// Begins what was asked for and can begin now: reading the file again, collecting.
    pub(super) fn begin_files(&mut self) {
        if std::mem::take(&mut self.reload_wanted) {
            self.begin_reload();
        }
        let up = self.applied && !self.table.is_closing() && self.table.all_up();
        if up && self.collect_wanted && !self.collecting {
            self.collect_wanted = false;
            if collect::is_needed(&self.context) {
                let context = Arc::clone(&self.context);
                let run = move |interrupt| {
                    collect::run(&context, &interrupt);
                    Report::Collected
                };
                match self.spawn(run) {
                    Ok(()) => self.collecting = true,
                    Err(error) => log::warn!("{error}"),
                }
            }
        }
    }

    fn begin_reload(&mut self) {
        let refusal = match self.mode {
            _ if self.table.is_closing() => Some(("everything is being stopped", Code::Failed)),
            RunMode::Foreground => {
                Some(("`casemate up` does not read its file again: end it and start it anew", Code::Usage))
            }
            RunMode::Stop => Some(("everything is being stopped", Code::Failed)),
            RunMode::Service if self.preparing => {
                // One at a time: this one begins when that one is done.
                self.reload_wanted = true;
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
        let own_log = manager_log::host_log();
        let run = move |interrupt| Report::Prepared(prepare::again(&context, &path, &connected, own_log, &interrupt));
        match self.spawn(run) {
            Ok(()) => self.preparing = true,
            Err(error) => self.not_reloaded(&[error]),
        }
    }

    fn spawn(
        &mut self,
        work: impl FnOnce(crate::background::Interrupt) -> Report + Send + 'static,
    ) -> Result<(), Error> {
        self.background.spawn(work).map_err(|error| Error::new(Code::Failed, "manager", "start a thread", error))
    }

    /// Takes the reports of work that has come to its end.
    pub(super) fn take_reports(&mut self) -> Result<(), Error> {
        for report in self.background.take() {
            match report {
                Report::Prepared(prepared) => self.prepared = Some(prepared),
                Report::Proven { name, generation, result } => {
                    self.proofs.under_way -= 1;
                    self.proven(&name, generation, result)?;
                }
                Report::Collected => self.collecting = false,
            }
        }
        Ok(())
    }

    /// Applies a prepared file, once everything that it may replace is known.
    pub(super) fn apply_prepared(&mut self) {
        if !self.is_adopted() {
            return;
        }
        let Some(prepared) = self.prepared.take() else { return };
        self.preparing = false;
        match prepared {
            // What was to be stopped meanwhile is not started any more.
            _ if self.table.is_closing() => {}
            Ok(prepared) => self.apply(prepared),
            Err(errors) if !self.applied => self.not_applied = Some(errors),
            Err(errors) => self.not_reloaded(&errors),
        }
    }

    fn apply(&mut self, prepared: Prepared) {
        let file = prepared.file.display().to_string();
        let first = !std::mem::replace(&mut self.applied, true);
        if let Some(forwarder) = prepared.own_log {
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
                Change::Same if first && runs => Event::of(&name, ContainerEvent::TakenOver).log(),
                Change::Same | Change::Added => {}
                Change::Replaced => Event::of(&name, ContainerEvent::Replaced).log(),
                Change::Orphaned => {
                    self.forwarding.set(&name, None);
                    Event::of(&name, ContainerEvent::Orphaned).log();
                }
            }
        }
        self.collect_wanted = true;
    }

    /// Everything goes on as it was; whoever asked is told the first error, and that there are more.
    fn not_reloaded(&mut self, errors: &[Error]) {
        errors.iter().for_each(|error| log::error!("{error}"));
        Event::NotApplied { file: self.file.display().to_string() }.log();
        let first = errors.first().map(ToString::to_string).unwrap_or_default();
        let reason = match errors.len() {
            0 | 1 => first,
            count => format!("{first}; and {} more, which the manager's log has", count - 1),
        };
        self.refuse_reload(&reason, errors.first().map_or(Code::Failed, Error::code));
    }

    /// Begins proofs that wait, as many as may be under way.
    pub(super) fn start_proofs(&mut self) {
        while self.proofs.under_way < MAX_PROOFS
            && let Some(name) = self.proofs.waiting.pop_front()
        {
            let Some(container) = self.table.get(&name) else { continue };
            let Some(desired) = &container.desired else { continue };
            let Some(config) = &desired.config else { continue };
            let layers = config.job.rootfs.layers.clone();
            let generation = desired.generation;
            let context = Arc::clone(&self.context);
            let of = name.clone();
            let prove = move |interrupt| {
                let result = context.connect(&interrupt).and_then(|mut client| {
                    let directories = &context.session.directories;
                    let stores = directories.preloaded();
                    verify::verify_layers(&mut client, &directories.state, stores, &layers).map_err(Error::from)
                });
                let result = result.map_err(|error| (error.code(), error.to_string()));
                Report::Proven { name: of, generation, result }
            };
            match self.spawn(prove) {
                Ok(()) => self.proofs.under_way += 1,
                Err(error) => self.start_failed(&name, error.code(), error.to_string()),
            }
        }
    }

    fn proven(&mut self, name: &Name, generation: u64, result: Result<(), (Code, String)>) -> Result<(), Error> {
        let wanted = self.table.get(name).is_some_and(|container| {
            let run = container.observed.run.as_ref();
            run.is_some_and(|run| run.phase == Phase::Proving && run.generation == generation)
                && container.desired.as_ref().is_some_and(|desired| desired.goal == Goal::Run)
        });
        match result {
            _ if !wanted => Ok(()),
            Ok(()) if self.table.proven(name) => self.start(name),
            Ok(()) => Ok(()),
            Err((code, reason)) => {
                self.start_failed(name, code, reason);
                Ok(())
            }
        }
    }
}
