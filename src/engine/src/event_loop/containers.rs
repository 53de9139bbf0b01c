//! Containers: actions of the table become requests to the helper; its replies and events become observations.

use super::output::Output;
use super::{EventLoop, helper_failed};
use crate::events::{ContainerEvent, Event};
use crate::helper::{Incoming, RequestKind};
use crate::logs::{Bounds, HostLog, Origin, Pipes, cri};
use crate::reactor::Interest;
use crate::reconcile::Action;
use crate::state::{Phase, Run, RunConfig, StopProgress};
use casemate_client::{Answer, Error as ClientError};
use casemate_error::{Code, Error};
use casemate_wire::frozen::{Containers, ListContainers, Signal};
use casemate_wire::{ContainerDescriptors, Descriptors, Name, Reply, Request, State};
use std::rc::Rc;
use std::time::Instant;

/// Log bounds of a container that no file describes.
const DEFAULT_BOUNDS: Bounds = Bounds { size: 8 << 20, count: 3 };

/// Settings of the last applied file for a container that an earlier manager may have started.
#[derive(Debug, Clone)]
pub struct AppliedSettings {
    /// How it is stopped and what it holds.
    pub run: RunConfig,
    /// The bounds of its log files.
    pub bounds: Bounds,
    /// The host log that also gets its output.
    pub host_log: Option<(HostLog, Origin)>,
}

impl EventLoop {
    /// Performs an action of the table.
    pub(super) fn perform(&mut self, name: &Name, action: Action) -> Result<(), Error> {
        match action {
            Action::Prove => {
                self.proofs.add(name);
                Ok(())
            }
            Action::AbandonProof => {
                self.proofs.remove(name);
                Ok(())
            }
            Action::Start => self.start(name),
            Action::SendStopSignal => {
                let signal = self.run_config(name).stop_signal;
                self.send_best_effort(&Request::Signal(Signal { name: name.clone(), signal }))
            }
            Action::Kill => {
                self.log_kill(name);
                self.send_best_effort(&Request::Kill(name.clone()))
            }
            Action::Forget => self.send_best_effort(&Request::Forget(name.clone())),
        }
    }

    fn run_config(&self, name: &Name) -> RunConfig {
        let run = self.table.get(name).and_then(|container| container.observed.run.as_ref());
        run.map_or_else(RunConfig::unknown, |run| run.config.clone())
    }

    /// Logs a kill after the grace period; a second Ctrl-C needs no explanation.
    fn log_kill(&self, name: &Name) {
        let Some(container) = self.table.get(name) else { return };
        let state = container.desired.as_ref().map(|desired| desired.state);
        if state == Some(crate::state::DesiredState::Killed) {
            return;
        }
        let config = self.run_config(name);
        let init = container.desired.as_ref().and_then(|desired| desired.config.as_ref());
        let event = ContainerEvent::Killed {
            signal: config.stop_signal,
            grace: config.stop_grace_period,
            init: init.is_some_and(|config| config.job.process.init),
        };
        Event::of(name, event).log();
    }

    pub(super) fn start(&mut self, name: &Name) -> Result<(), Error> {
        let config = self.table.get(name).and_then(|container| container.desired.as_ref()?.config.clone());
        let Some(config) = config else { return Ok(()) };
        let start = config.job.to_start().map_err(|_| helper_failed(ClientError::Protocol("a job is too long")))?;
        self.send_request(&Request::Start(start), RequestKind::Start(name.clone()))
    }

    /// Handles all replies and events of the helper.
    pub(super) fn handle_helper(&mut self) -> Result<(), Error> {
        self.helper.send().map_err(helper_failed)?;
        if !self.helper.has_outgoing() {
            let failed = |errno| super::system("wait for the helper", errno);
            self.helper_socket.set_interest(Interest::Read).map_err(failed)?;
        }
        while let Some(incoming) = self.helper.receive().map_err(helper_failed)? {
            match incoming {
                Incoming::Exited { name, exit } => {
                    self.table.exited(&name, exit);
                    self.ended.insert(name);
                }
                Incoming::Answer { kind, answer } => self.handle_reply(kind, answer)?,
            }
        }
        Ok(())
    }

    fn handle_reply(&mut self, kind: RequestKind, answer: Result<Answer, ClientError>) -> Result<(), Error> {
        match (kind, answer) {
            (RequestKind::Containers, Ok((Reply::Containers(containers), _))) => self.adopt(containers),
            (RequestKind::Attach(name), Ok((Reply::Attached(()), descriptors))) => {
                self.adopting.remove(&name);
                self.attach(&name, descriptors)
            }
            (RequestKind::Start(name), Ok((Reply::Started(()), descriptors))) => self.started(&name, descriptors),
            (RequestKind::Start(name), Err(error)) => {
                self.start_failed(&name, error.code(), error.to_string());
                Ok(())
            }
            (RequestKind::BestEffort, _) => Ok(()),
            (_, Err(error)) => Err(helper_failed(error)),
            (_, Ok((reply, _))) => Err(helper_failed(ClientError::unexpected(&reply))),
        }
    }

    fn started(&mut self, name: &Name, descriptors: Descriptors) -> Result<(), Error> {
        let config = self.table.get(name).and_then(|container| container.desired.as_ref()?.config.clone());
        let bounds = config.as_ref().map_or(DEFAULT_BOUNDS, |config| config.log_bounds);
        self.table.started(name, cri::now());
        Event::of(name, ContainerEvent::Started).log();
        self.forwarding.set(name, config.and_then(|config| config.host_log.clone()));
        let output = output_from(descriptors, bounds)?;
        self.add_output(name, output);
        Ok(())
    }

    /// Records and logs a failed start.
    pub(super) fn start_failed(&mut self, name: &Name, code: Code, reason: String) {
        let retry = self.table.start_failed(name, code, reason.clone(), Instant::now());
        Event::of(name, ContainerEvent::StartFailed { reason, retry }).log();
    }

    /// Requests the descriptors of the containers that an earlier manager started, page by page.
    fn adopt(&mut self, page: Containers) -> Result<(), Error> {
        match page.containers.last().filter(|_| page.more) {
            Some(last) => {
                let next = ListContainers { after: Some(last.name.clone()) };
                self.send_request(&Request::Containers(next), RequestKind::Containers)?;
            }
            None => self.listed = true,
        }
        for listed in page.containers {
            let name = listed.name.clone();
            let settings = self.applied_settings.get(&name);
            let (phase, exited) = match listed.state {
                State::Running => (Phase::Running, false),
                State::Exited(exit) => (Phase::Exited(exit), true),
            };
            let run = Run {
                generation: 0,
                phase,
                stop: None::<StopProgress>,
                started: listed.started,
                digest: listed.digest,
                config: settings.map_or_else(RunConfig::unknown, |settings| settings.run.clone()),
            };
            self.table.adopted(&name, run);
            if exited {
                self.ended.insert(name.clone());
            }
            self.adopting.insert(name.clone());
            self.send_request(&Request::Attach(name.clone()), RequestKind::Attach(name))?;
        }
        Ok(())
    }

    fn attach(&mut self, name: &Name, descriptors: Descriptors) -> Result<(), Error> {
        let settings = self.applied_settings.get(name);
        let bounds = settings.map_or(DEFAULT_BOUNDS, |settings| settings.bounds);
        self.forwarding.set(name, settings.and_then(|settings| settings.host_log.clone()));
        let output = output_from(descriptors, bounds)?;
        self.add_output(name, output);
        Ok(())
    }
}

/// The output of a run, from the descriptors of `attached` and `started`.
fn output_from(descriptors: Descriptors, bounds: Bounds) -> Result<Output, Error> {
    let ContainerDescriptors { pidfd, stdout, stderr, spool, spool_write } =
        descriptors.try_into().map_err(|failure| helper_failed(ClientError::Failed(failure)))?;
    let pipes = Pipes { stdout: Rc::new(stdout), stderr: Rc::new(stderr), spool, spool_write };
    Ok(Output::new(pidfd, pipes, bounds))
}
