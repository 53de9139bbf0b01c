//! What the control socket asks of the supervisor: done at once, or remembered until it has come true.

use super::container::{Container, Phase, Then, Why};
use super::report::is_decided;
use super::supervisor::Supervisor;
use super::{Error, pid};
use crate::control::{Handle, Request, Response, Server, Status};
use crate::logs::{Reader, cri};
use casemate_error::Code;

/// A connection that waits for something.
#[derive(Debug)]
pub struct Pending {
    handle: Handle,
    goal: Goal,
}

#[derive(Debug)]
enum Goal {
    /// All of these have ended.
    Over(Vec<String>),
    /// All of these run.
    Running(Vec<String>),
    /// Each of these is told when it has ended.
    Told(Vec<String>),
    /// Nothing more will be written to this one's log.
    Silent(String),
    /// The file was read again, and what is in it is up.
    Applied,
}

impl Pending {
    /// Whether it waits for a reload.
    pub fn is_for_reload(&self) -> bool {
        matches!(self.goal, Goal::Applied)
    }

    /// Says no.
    pub fn refuse(&self, server: &mut Server, reason: String, code: Code) {
        server.answer(self.handle, &Response::Failed { reason, code: code as u8 }, true);
    }
}

impl Supervisor {
    /// Takes a request. What is not answered at once comes back.
    pub fn ask(&mut self, server: &mut Server, handle: Handle, request: Request) -> Result<Option<Pending>, Error> {
        let unknown = match &request {
            Request::Stop { names }
            | Request::Start { names }
            | Request::Restart { names }
            | Request::Wait { names } => names.iter().find(|name| self.find(name).is_none()),
            Request::Logs { name, .. } => Some(name).filter(|name| self.find(name).is_none()),
            Request::Ps {} | Request::Down {} | Request::Reload {} | Request::Version {} => None,
        };
        if let Some(name) = unknown {
            server.answer(handle, &not_in_the_file(name), true);
            return Ok(None);
        }
        let goal = match request {
            Request::Ps {} => {
                let containers = self.containers.iter().map(status).collect();
                server.answer(handle, &Response::Containers { containers }, true);
                return Ok(None);
            }
            Request::Version {} => {
                let version = env!("CARGO_PKG_VERSION").to_owned();
                server.answer(handle, &Response::Version { version }, true);
                return Ok(None);
            }
            Request::Logs { name, follow, tail } => {
                return Ok(self.logs(server, handle, name, follow, tail));
            }
            Request::Stop { names } => {
                self.each(&names, Then::Rest)?;
                Goal::Over(names)
            }
            Request::Start { names } => {
                let over: Vec<String> =
                    names.iter().filter(|name| self.find(name).is_some_and(|c| !runs(c))).cloned().collect();
                self.each(&over, Then::Start)?;
                Goal::Running(names)
            }
            Request::Restart { names } => {
                self.each(&names, Then::Start)?;
                Goal::Running(names)
            }
            Request::Wait { names } => Goal::Told(names),
            Request::Reload {} => {
                self.reload = true;
                Goal::Applied
            }
            Request::Down {} => {
                self.closing = true;
                Goal::Over(self.containers.iter().map(|container| container.name.to_string()).collect())
            }
        };
        Ok(Some(Pending { handle, goal }))
    }

    fn logs(
        &mut self,
        server: &mut Server,
        handle: Handle,
        name: String,
        follow: bool,
        tail: Option<u64>,
    ) -> Option<Pending> {
        let container = self.find(&name)?;
        let directory = self.directories.logs(&container.name);
        let reader = match tail {
            Some(records) => Reader::tail(&directory, usize::try_from(records).unwrap_or(usize::MAX)),
            None => Reader::oldest(&directory),
        };
        match reader {
            Ok(reader) => {
                server.answer(handle, &Response::Records {}, false);
                server.stream(handle, reader, follow);
                follow.then_some(Pending { handle, goal: Goal::Silent(name) })
            }
            Err(error) => {
                let reason = match error.kind() {
                    std::io::ErrorKind::NotFound => format!("{name}: read its log: it has not run yet"),
                    _ => format!("{name}: read its log: {error}"),
                };
                server.answer(handle, &Response::Failed { reason, code: Code::Failed as u8 }, true);
                None
            }
        }
    }

    /// Answers what has come true; `true` to go on waiting.
    pub fn keeps_waiting(&self, server: &mut Server, pending: &mut Pending) -> bool {
        let handle = pending.handle;
        if !server.is_open(handle) {
            return false;
        }
        match &mut pending.goal {
            Goal::Over(names) => {
                names.retain(|name| self.find(name).is_some_and(|container| !container.is_over()));
                self.done_when_empty(server, handle, names)
            }
            Goal::Told(names) => {
                names.retain(|name| {
                    let Some(container) = self.find(name).filter(|container| !container.is_over()) else {
                        let code = self.find(name).and_then(|container| Some(container.exit?.code));
                        server.answer(handle, &Response::Ended { name: name.clone(), code }, false);
                        return false;
                    };
                    !container.is_over()
                });
                self.done_when_empty(server, handle, names)
            }
            Goal::Running(names) => {
                // A reload may have taken it out of the file.
                let gone = |name: &&String| self.find(name).is_none_or(|container| container.order.is_none());
                let gone = names.iter().find(gone).map(|name| not_in_the_file(name));
                let failed = names.iter().filter_map(|name| self.find(name)).find_map(failed).or(gone);
                if let Some(response) = failed {
                    server.answer(handle, &response, true);
                    return false;
                }
                names.retain(|name| self.find(name).is_some_and(|container| !has_run(container)));
                self.done_when_empty(server, handle, names)
            }
            Goal::Applied => {
                let up = self.containers.iter().all(is_decided);
                if up {
                    server.answer(handle, &Response::Done {}, true);
                }
                !up
            }
            Goal::Silent(name) => {
                let over = self.find(name).is_none_or(Container::is_over);
                if over {
                    server.end_of_log(handle);
                }
                !over
            }
        }
    }

    fn done_when_empty(&self, server: &mut Server, handle: Handle, names: &[String]) -> bool {
        if names.is_empty() {
            server.answer(handle, &Response::Done {}, true);
        }
        !names.is_empty()
    }

    fn find(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name.as_str() == name)
    }

    fn each(&mut self, names: &[String], then: Then) -> Result<(), Error> {
        let wanted = |container: &Container| names.iter().any(|name| name == container.name.as_str());
        let found: Vec<usize> =
            (0..self.containers.len()).filter(|n| self.containers.get(*n).is_some_and(wanted)).collect();
        found.into_iter().rev().try_for_each(|n| self.stop(n, then))
    }
}

fn not_in_the_file(name: &str) -> Response {
    let reason = format!("{name}: find: the file has no container of this name; `casemate ps` lists them");
    Response::Failed { reason, code: Code::Usage as u8 }
}

fn runs(container: &Container) -> bool {
    container.phase == Phase::Running
}

/// It runs, or it did and was quick.
fn has_run(container: &Container) -> bool {
    matches!(container.phase, Phase::Running | Phase::Ended(Why::Completed))
}

fn failed(container: &Container) -> Option<Response> {
    let code = match &container.phase {
        Phase::Ended(Why::Failed(code)) => *code as u8,
        // It ran, and had ended before anybody looked.
        Phase::Ended(Why::Completed) => return None,
        Phase::Ended(_) => Code::Failed as u8,
        _ => return None,
    };
    let reason = container.failure.clone().unwrap_or_else(|| "it was stopped meanwhile".to_owned());
    Some(Response::Failed { reason: format!("{}: start: {reason}", container.name), code })
}

fn status(container: &Container) -> Status {
    let running = container.live.as_ref().filter(|live| live.exited.is_none());
    Status {
        name: container.name.to_string(),
        state: container.state().to_owned(),
        pid: running.and_then(|live| pid::of(&live.pidfd)),
        started: running.map(|live| cri::timestamp(live.started)),
        uptime: running.map(|live| cri::now().saturating_sub(live.started) / 1_000_000_000),
        restarts: container.restarts,
        image: container.order.as_ref().map(|order| order.image.clone()).unwrap_or_default(),
        exit_code: container.exit.map(|exit| exit.code),
        oom_kills: container.exit.map(|exit| exit.oom_kills),
        failure: container.failure.clone(),
    }
}
