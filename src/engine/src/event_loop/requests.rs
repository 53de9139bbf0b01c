//! Requests of the control socket: answered at once, or when the state that they wait for is reached.

use super::EventLoop;
use crate::control::{ConnectionId, Request, Response, Status};
use crate::logs::{Reader, cri};
use crate::pid;
use crate::state::{Container, End, Phase};
use crate::table::Table;
use casemate_error::Code;
use casemate_wire::Name;
use std::collections::{BTreeMap, BTreeSet};

/// Requests whose response waits for containers.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    next: u64,
    waits: BTreeMap<u64, Wait>,
    by_name: BTreeMap<Name, BTreeSet<u64>>,
    for_reload: BTreeSet<ConnectionId>,
    /// Requests whose containers are not known yet.
    early: Vec<(ConnectionId, Request)>,
}

#[derive(Debug)]
struct Wait {
    connection: ConnectionId,
    condition: Condition,
    /// Containers that have not reached it.
    names: BTreeSet<Name>,
}

/// The state that containers have to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// Ended.
    Ended,
    /// Running, or completed already.
    Running,
    /// Ended; each exit code is sent.
    ExitCodes,
    /// Ended, so that the log is complete.
    LogEnd,
}

impl Waiting {
    fn add(&mut self, connection: ConnectionId, condition: Condition, names: BTreeSet<Name>) -> u64 {
        let wait_id = self.next;
        self.next += 1;
        for name in &names {
            self.by_name.entry(name.clone()).or_default().insert(wait_id);
        }
        self.waits.insert(wait_id, Wait { connection, condition, names });
        wait_id
    }

    /// One container has reached the state. Returns the wait if it was the last one.
    fn reached(&mut self, wait_id: u64, name: &Name) -> Option<Wait> {
        let of_name = self.by_name.get_mut(name)?;
        of_name.remove(&wait_id);
        if of_name.is_empty() {
            self.by_name.remove(name);
        }
        let wait = self.waits.get_mut(&wait_id)?;
        wait.names.remove(name);
        if wait.names.is_empty() { self.waits.remove(&wait_id) } else { None }
    }

    fn remove(&mut self, wait_id: u64) {
        for name in self.waits.remove(&wait_id).map(|wait| wait.names).unwrap_or_default() {
            self.reached(wait_id, &name);
        }
    }
}

impl EventLoop {
    /// Answers a request, or stores what its response waits for.
    pub(super) fn handle_request(&mut self, connection: ConnectionId, request: Request) {
        if !self.knows_containers_of(&request) {
            return self.waiting.early.push((connection, request));
        }
        match request {
            Request::Ps {} => {
                let containers = self.table.in_order();
                let containers = containers.map(|(name, container)| self.status_of(name, container)).collect();
                self.server.respond(connection, &Response::Containers { containers }, true);
            }
            Request::Version {} => {
                let version = env!("CARGO_PKG_VERSION").to_owned();
                self.server.respond(connection, &Response::Version { version }, true);
            }
            Request::Logs { name, follow, tail } => self.logs(connection, &name, follow, tail),
            Request::Stop { names } => self.change_each(connection, &names, Condition::Ended, Table::stop),
            Request::Start { names } => {
                self.change_each(connection, &names, Condition::Running, Table::start);
            }
            Request::Restart { names } => {
                self.change_each(connection, &names, Condition::Running, Table::restart);
            }
            Request::Wait { names } => self.change_each(connection, &names, Condition::ExitCodes, |_, _| {}),
            Request::Reload {} => {
                self.reload_requested = true;
                self.waiting.for_reload.insert(connection);
            }
            Request::Down {} => {
                self.table.stop_all();
                let names = self.table.names().cloned().collect();
                self.wait_for(connection, Condition::Ended, names);
            }
        }
    }

    /// Whether the containers of an earlier manager are known, and those of the file where the request names another one.
    fn knows_containers_of(&self, request: &Request) -> bool {
        let names = match request {
            Request::Version {} => return true,
            Request::Ps {} | Request::Down {} | Request::Reload {} => &[],
            Request::Logs { name, .. } => std::slice::from_ref(name),
            Request::Stop { names }
            | Request::Start { names }
            | Request::Restart { names }
            | Request::Wait { names } => names.as_slice(),
        };
        let file_is_known = self.applied || self.table.is_stopping();
        self.is_adopted() && (file_is_known || names.iter().all(|name| self.find(name).is_some()))
    }

    /// Changes each of these containers, the last one of the file first, and waits for the condition.
    fn change_each(
        &mut self,
        connection: ConnectionId,
        names: &[String],
        condition: Condition,
        change: impl Fn(&mut Table, &Name),
    ) {
        let mut found = BTreeSet::new();
        for text in names {
            match self.find(text) {
                Some(name) => found.insert(name),
                None => return self.server.respond(connection, &not_in_the_file(text), true),
            };
        }
        if condition == Condition::Running && self.table.is_stopping() {
            let reason = "all containers are being stopped".to_owned();
            return self.server.respond(connection, &Response::Failed { reason, code: Code::Failed as u8 }, true);
        }
        let in_order: Vec<Name> = self.table.in_order().map(|(name, _)| name.clone()).collect();
        for name in in_order.iter().rev().filter(|name| found.contains(*name)) {
            change(&mut self.table, name);
        }
        self.wait_for(connection, condition, found);
    }

    fn wait_for(&mut self, connection: ConnectionId, condition: Condition, names: BTreeSet<Name>) {
        let empty = names.is_empty();
        let all: Vec<Name> = names.iter().cloned().collect();
        let wait_id = self.waiting.add(connection, condition, names);
        if empty {
            self.waiting.remove(wait_id);
            return self.server.respond(connection, &Response::Done {}, true);
        }
        for name in all {
            self.check_wait(wait_id, &name);
        }
    }

    fn logs(&mut self, connection: ConnectionId, text: &str, follow: bool, tail: Option<u64>) {
        let Some(name) = self.find(text) else {
            return self.server.respond(connection, &not_in_the_file(text), true);
        };
        let directory = self.context.session.directories.logs(&name);
        let reader = match tail {
            Some(records) => Reader::tail(&directory, usize::try_from(records).unwrap_or(usize::MAX)),
            None => Reader::oldest(&directory),
        };
        match reader {
            Ok(reader) => {
                self.server.respond(connection, &Response::Records {}, false);
                self.server.stream(connection, &name, reader, follow);
                if follow {
                    self.wait_for(connection, Condition::LogEnd, BTreeSet::from([name]));
                }
            }
            Err(error) => {
                let reason = match error.kind() {
                    std::io::ErrorKind::NotFound => format!("{name}: read its log: it has not run yet"),
                    _ => format!("{name}: read its log: {error}"),
                };
                self.server.respond(connection, &Response::Failed { reason, code: Code::Failed as u8 }, true);
            }
        }
    }

    /// Handles the requests whose containers have become known.
    pub(super) fn handle_early_requests(&mut self) {
        for (connection, request) in std::mem::take(&mut self.waiting.early) {
            if self.server.is_open(connection) {
                self.handle_request(connection, request);
            }
        }
    }

    /// Answers the requests whose containers have changed since the last iteration.
    pub(super) fn answer_waiting(&mut self) {
        for name in self.table.take_changed() {
            let wait_ids: Vec<u64> = self.waiting.by_name.get(&name).into_iter().flatten().copied().collect();
            for wait_id in wait_ids {
                self.check_wait(wait_id, &name);
            }
        }
        let idle = self.applied && !self.preparing && !self.reload_requested;
        if idle && !self.waiting.for_reload.is_empty() && self.table.all_starts_decided() {
            for connection in std::mem::take(&mut self.waiting.for_reload) {
                self.server.respond(connection, &Response::Done {}, true);
            }
        }
    }

    /// Checks one container for one wait.
    fn check_wait(&mut self, wait_id: u64, name: &Name) {
        let Some(wait) = self.waiting.waits.get(&wait_id) else { return };
        let connection = wait.connection;
        let condition = wait.condition;
        if !self.server.is_open(connection) {
            return self.waiting.remove(wait_id);
        }
        let container = self.table.get(name);
        let ended = container.is_none_or(Container::has_ended);
        let reached = match condition {
            Condition::Ended | Condition::LogEnd | Condition::ExitCodes => ended,
            Condition::Running => match container.filter(|container| has_config(container)) {
                None => return self.fail(wait_id, connection, &not_in_the_file(name.as_str())),
                Some(container) => match failure(name, container) {
                    Some(failure) => return self.fail(wait_id, connection, &failure),
                    None => has_run(container),
                },
            },
        };
        if !reached {
            return;
        }
        if condition == Condition::ExitCodes {
            let code = container.and_then(|container| Some(container.observed.exit?.code));
            self.server.respond(connection, &Response::Ended { name: name.to_string(), code }, false);
        }
        if self.waiting.reached(wait_id, name).is_some() {
            match condition {
                Condition::LogEnd => self.server.end_of_log(connection),
                _ => self.server.respond(connection, &Response::Done {}, true),
            }
        }
    }

    fn fail(&mut self, wait_id: u64, connection: ConnectionId, response: &Response) {
        self.waiting.remove(wait_id);
        self.server.respond(connection, response, true);
    }

    /// Answers the reload requests with this error.
    pub(super) fn refuse_reload(&mut self, reason: &str, code: Code) {
        let response = Response::Failed { reason: format!("reload: {reason}"), code: code as u8 };
        for connection in std::mem::take(&mut self.waiting.for_reload) {
            self.server.respond(connection, &response, true);
        }
    }

    /// Answers every request that waits for the file with this error.
    pub(super) fn refuse_waiting(&mut self, reason: &str, code: Code) {
        self.refuse_reload(reason, code);
        let response = Response::Failed { reason: reason.to_owned(), code: code as u8 };
        for (connection, _) in std::mem::take(&mut self.waiting.early) {
            self.server.respond(connection, &response, true);
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
    let reason = format!("{name}: find: no container of this name in the file; `casemate ps` lists them");
    Response::Failed { reason, code: Code::Usage as u8 }
}

/// Whether the file has the container. Before the first file is applied it may.
fn has_config(container: &Container) -> bool {
    container.desired.as_ref().is_none_or(|desired| desired.config.is_some())
}

/// Whether its desired run is running or has completed.
fn has_run(container: &Container) -> bool {
    let Some(desired) = &container.desired else { return false };
    let runs =
        container.observed.run.as_ref().is_some_and(|run| {
            run.phase == Phase::Running && run.stop.is_none() && run.generation == desired.generation
        });
    (runs && container.should_run()) || container.end() == Some(End::Completed)
}

/// The error response if the container cannot reach [`Condition::Running`].
fn failure(name: &Name, container: &Container) -> Option<Response> {
    let code = match container.end() {
        Some(End::StartFailed(code)) => code as u8,
        Some(End::GaveUp | End::Stopped) => Code::Failed as u8,
        None if container.desired.is_some() && !container.should_run() => Code::Failed as u8,
        // It ran and has completed.
        Some(End::Completed) | None => return None,
    };
    let reason = container.observed.failure.clone().unwrap_or_else(|| "it was stopped in the meantime".to_owned());
    Some(Response::Failed { reason: format!("{name}: start: {reason}"), code })
}
