//! Requests of the control socket: done at once, or answered when they have come true.

use super::EventLoop;
use crate::control::{Handle, Request, Response, Status};
use crate::logs::{Reader, cri};
use crate::pid;
use crate::state::{Container, End, Phase};
use crate::table::Table;
use casemate_error::Code;
use casemate_wire::Name;
use std::collections::{BTreeMap, BTreeSet};

/// Connections that wait for something, by the containers that they wait for.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    next: u64,
    waits: BTreeMap<u64, Wait>,
    by_name: BTreeMap<Name, BTreeSet<u64>>,
    for_reload: BTreeSet<Handle>,
}

#[derive(Debug)]
struct Wait {
    handle: Handle,
    condition: Condition,
    /// Containers of which it has not come true yet.
    names: BTreeSet<Name>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// They have ended.
    Over,
    /// They run, or did and were quick.
    Running,
    /// They have ended, and each exit code is reported.
    ExitCodes,
    /// Nothing more will be written to the log.
    LogEnd,
}

impl Waiting {
    fn add(&mut self, handle: Handle, condition: Condition, names: BTreeSet<Name>) -> u64 {
        let id = self.next;
        self.next += 1;
        for name in &names {
            self.by_name.entry(name.clone()).or_default().insert(id);
        }
        self.waits.insert(id, Wait { handle, condition, names });
        id
    }

    /// One container less to wait for; the wait where it was the last one.
    fn came_true(&mut self, id: u64, name: &Name) -> Option<Wait> {
        let of_name = self.by_name.get_mut(name)?;
        of_name.remove(&id);
        if of_name.is_empty() {
            self.by_name.remove(name);
        }
        let wait = self.waits.get_mut(&id)?;
        wait.names.remove(name);
        if wait.names.is_empty() { self.waits.remove(&id) } else { None }
    }

    fn remove(&mut self, id: u64) {
        for name in self.waits.remove(&id).map(|wait| wait.names).unwrap_or_default() {
            self.came_true(id, &name);
        }
    }
}

impl EventLoop {
    /// Takes a request: answers it, or notes what its answer waits for.
    pub(super) fn take_request(&mut self, handle: Handle, request: Request) {
        match request {
            Request::Ps {} => {
                let containers = self.table.in_order().into_iter();
                let containers = containers.map(|(name, container)| self.status_of(name, container)).collect();
                self.server.answer(handle, &Response::Containers { containers }, true);
            }
            Request::Version {} => {
                let version = env!("CARGO_PKG_VERSION").to_owned();
                self.server.answer(handle, &Response::Version { version }, true);
            }
            Request::Logs { name, follow, tail } => self.logs(handle, &name, follow, tail),
            Request::Stop { names } => self.each(handle, &names, Condition::Over, Table::stop),
            Request::Start { names } => {
                self.each(handle, &names, Condition::Running, Table::start);
            }
            Request::Restart { names } => {
                self.each(handle, &names, Condition::Running, Table::restart);
            }
            Request::Wait { names } => self.each(handle, &names, Condition::ExitCodes, |_, _| {}),
            Request::Reload {} => {
                self.reload_wanted = true;
                self.waiting.for_reload.insert(handle);
            }
            Request::Down {} => {
                self.table.close();
                let names = self.table.names().cloned().collect();
                self.wait_for(handle, Condition::Over, names);
            }
        }
    }

    /// Does something to each of these containers, the last one of the file first, and waits for the condition of all.
    fn each(&mut self, handle: Handle, names: &[String], condition: Condition, to_do: impl Fn(&mut Table, &Name)) {
        let mut found = BTreeSet::new();
        for text in names {
            match self.find(text) {
                Some(name) => found.insert(name),
                None => return self.server.answer(handle, &not_in_the_file(text), true),
            };
        }
        if condition == Condition::Running && self.table.is_closing() {
            let reason = "everything is being stopped".to_owned();
            return self.server.answer(handle, &Response::Failed { reason, code: Code::Failed as u8 }, true);
        }
        let in_order: Vec<Name> = self.table.in_order().into_iter().map(|(name, _)| name.clone()).collect();
        for name in in_order.iter().rev().filter(|name| found.contains(*name)) {
            to_do(&mut self.table, name);
        }
        self.wait_for(handle, condition, found);
    }

    fn wait_for(&mut self, handle: Handle, condition: Condition, names: BTreeSet<Name>) {
        let empty = names.is_empty();
        let all: Vec<Name> = names.iter().cloned().collect();
        let id = self.waiting.add(handle, condition, names);
        if empty {
            self.waiting.remove(id);
            return self.server.answer(handle, &Response::Done {}, true);
        }
        for name in all {
            self.look_at(id, &name);
        }
    }

    fn logs(&mut self, handle: Handle, text: &str, follow: bool, tail: Option<u64>) {
        let Some(name) = self.find(text) else {
            return self.server.answer(handle, &not_in_the_file(text), true);
        };
        let directory = self.context.session.directories.logs(&name);
        let reader = match tail {
            Some(records) => Reader::tail(&directory, usize::try_from(records).unwrap_or(usize::MAX)),
            None => Reader::oldest(&directory),
        };
        match reader {
            Ok(reader) => {
                self.server.answer(handle, &Response::Records {}, false);
                self.server.stream(handle, &name, reader, follow);
                if follow {
                    self.wait_for(handle, Condition::LogEnd, BTreeSet::from([name]));
                }
            }
            Err(error) => {
                let reason = match error.kind() {
                    std::io::ErrorKind::NotFound => format!("{name}: read its log: it has not run yet"),
                    _ => format!("{name}: read its log: {error}"),
                };
                self.server.answer(handle, &Response::Failed { reason, code: Code::Failed as u8 }, true);
            }
        }
    }

    /// Answers what has come true by the changes since the last turn.
    pub(super) fn answer_waiting(&mut self) {
        for name in self.table.take_changed() {
            let ids: Vec<u64> = self.waiting.by_name.get(&name).into_iter().flatten().copied().collect();
            for id in ids {
                self.look_at(id, &name);
            }
        }
        let idle = self.applied && !self.preparing && !self.reload_wanted;
        if idle && !self.waiting.for_reload.is_empty() && self.table.all_decided() {
            for handle in std::mem::take(&mut self.waiting.for_reload) {
                self.server.answer(handle, &Response::Done {}, true);
            }
        }
    }

    /// Looks at one container for one wait.
    fn look_at(&mut self, id: u64, name: &Name) {
        let Some(wait) = self.waiting.waits.get(&id) else { return };
        let handle = wait.handle;
        let condition = wait.condition;
        if !self.server.is_open(handle) {
            return self.waiting.remove(id);
        }
        let container = self.table.get(name);
        let over = container.is_none_or(Container::is_over);
        let true_now = match condition {
            Condition::Over | Condition::LogEnd | Condition::ExitCodes => over,
            Condition::Running => match container.filter(|container| has_config(container)) {
                None => return self.fail(id, handle, &not_in_the_file(name.as_str())),
                Some(container) => match failure(name, container) {
                    Some(failure) => return self.fail(id, handle, &failure),
                    None => has_run(container),
                },
            },
        };
        if !true_now {
            return;
        }
        if condition == Condition::ExitCodes {
            let code = container.and_then(|container| Some(container.observed.exit?.code));
            self.server.answer(handle, &Response::Ended { name: name.to_string(), code }, false);
        }
        if self.waiting.came_true(id, name).is_some() {
            match condition {
                Condition::LogEnd => self.server.end_of_log(handle),
                _ => self.server.answer(handle, &Response::Done {}, true),
            }
        }
    }

    fn fail(&mut self, id: u64, handle: Handle, response: &Response) {
        self.waiting.remove(id);
        self.server.answer(handle, response, true);
    }

    /// Tells whoever asked for a reload that there is none.
    pub(super) fn refuse_reload(&mut self, reason: &str, code: Code) {
        let response = Response::Failed { reason: format!("reload: {reason}"), code: code as u8 };
        for handle in std::mem::take(&mut self.waiting.for_reload) {
            self.server.answer(handle, &response, true);
        }
    }

    fn find(&self, text: &str) -> Option<Name> {
        Name::new(text).ok().filter(|name| self.table.get(name).is_some())
    }

    fn status_of(&self, name: &Name, container: &Container) -> Status {
        let observed = &container.observed;
        let running = observed.run.as_ref().filter(|run| run.phase == Phase::Running);
        let pidfd = running.and_then(|_| self.outputs.get(name)).map(|output| &output.pidfd);
        let config = container.desired.as_ref().and_then(|desired| desired.config.as_ref());
        Status {
            name: name.to_string(),
            state: container.state().to_owned(),
            pid: pidfd.and_then(pid::of),
            started: running.map(|run| cri::timestamp(run.started)),
            uptime: running.map(|run| cri::now().saturating_sub(run.started) / 1_000_000_000),
            restarts: observed.restarts,
            image: config.map(|config| config.image.clone()).unwrap_or_default(),
            exit_code: observed.exit.map(|exit| exit.code),
            oom_kills: observed.exit.map(|exit| exit.oom_kills),
            failure: observed.failure.clone(),
        }
    }
}

fn not_in_the_file(name: &str) -> Response {
    let reason = format!("{name}: find: the file has no container of this name; `casemate ps` lists them");
    Response::Failed { reason, code: Code::Usage as u8 }
}

/// Whether the file has it; before the first file is applied it may.
fn has_config(container: &Container) -> bool {
    container.desired.as_ref().is_none_or(|desired| desired.config.is_some())
}

/// Whether it runs as it is desired, or did and was quick.
fn has_run(container: &Container) -> bool {
    let Some(desired) = &container.desired else { return false };
    let runs =
        container.observed.run.as_ref().is_some_and(|run| {
            run.phase == Phase::Running && run.stop.is_none() && run.generation == desired.generation
        });
    (runs && container.is_wanted()) || container.end() == Some(End::Completed)
}

/// Why it does not come to run.
fn failure(name: &Name, container: &Container) -> Option<Response> {
    let code = match container.end() {
        Some(End::StartFailed(code)) => code as u8,
        Some(End::GaveUp | End::Stopped) => Code::Failed as u8,
        None if container.desired.is_some() && !container.is_wanted() => Code::Failed as u8,
        // It ran, and had ended before anybody looked.
        Some(End::Completed) | None => return None,
    };
    let reason = container.observed.failure.clone().unwrap_or_else(|| "it was stopped meanwhile".to_owned());
    Some(Response::Failed { reason: format!("{name}: start: {reason}"), code })
}
