//! Containers: the actions that the state asks for become requests to the helper, its answers and events become observations.

use super::output::Output;
use super::{EventLoop, helper_failed};
use crate::events::{ContainerEvent, Event};
use crate::helper::{Incoming, Question};
use crate::logs::{Bounds, HostLog, Origin, Pipes, cri};
use crate::reactor::Interest;
use crate::reconcile::Action;
use crate::state::{Phase, Run, RunConfig, Stop};
use casemate_client::{Answer, Error as ClientError};
use casemate_error::{Code, Error};
use casemate_wire::frozen::{Containers, ListContainers, Signal};
use casemate_wire::{ContainerDescriptors, Descriptors, Name, Reply, Request, State};
use std::rc::Rc;
use std::time::Instant;

/// What is kept of the output of a container that no file describes.
const BOUNDS_OF_UNKNOWN: Bounds = Bounds { size: 8 << 20, count: 3 };

/// What the file that was applied last says of a container that an earlier manager may have left.
#[derive(Debug, Clone)]
pub struct Known {
    /// How it is stopped, and what it holds.
    pub run: RunConfig,
    /// How much of its output is kept.
    pub bounds: Bounds,
    /// Where its lines go besides.
    pub host_log: Option<(HostLog, Origin)>,
}

impl EventLoop {
    /// Does what the state asks for.
    pub(super) fn act(&mut self, name: &Name, action: Action) -> Result<(), Error> {
        match action {
            Action::Prove => {
                self.proofs.want(name);
                Ok(())
            }
            Action::AbandonProof => {
                self.proofs.abandon(name);
                Ok(())
            }
            Action::Start => self.start(name),
            Action::SendStopSignal => {
                let signal = self.run_config(name).stop_signal;
                self.notice(&Request::Signal(Signal { name: name.clone(), signal }))
            }
            Action::Kill => {
                self.log_kill(name);
                self.notice(&Request::Kill(name.clone()))
            }
            Action::Forget => self.notice(&Request::Forget(name.clone())),
        }
    }

    fn run_config(&self, name: &Name) -> RunConfig {
        let run = self.table.get(name).and_then(|container| container.observed.run.as_ref());
        run.map_or_else(RunConfig::unknown, |run| run.config.clone())
    }

    /// Why a container is killed is told, unless the caller of a second Ctrl-C knows it.
    fn log_kill(&self, name: &Name) {
        let Some(container) = self.table.get(name) else { return };
        let goal = container.desired.as_ref().map(|desired| desired.goal);
        if goal == Some(crate::state::Goal::Kill) {
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
        self.ask(&Request::Start(start), Question::Start(name.clone()))
    }

    /// Takes everything that the helper has said.
    pub(super) fn hear_helper(&mut self) -> Result<(), Error> {
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
                Incoming::Answer { question, answer } => self.take_answer(question, answer)?,
            }
        }
        Ok(())
    }

    fn take_answer(&mut self, question: Question, answer: Result<Answer, ClientError>) -> Result<(), Error> {
        match (question, answer) {
            (Question::Containers, Ok((Reply::Containers(containers), _))) => self.adopt(containers),
            (Question::Attach(name), Ok((Reply::Attached(()), descriptors))) => {
                self.adopting.remove(&name);
                self.attach(&name, descriptors)
            }
            (Question::Start(name), Ok((Reply::Started(()), descriptors))) => self.started(&name, descriptors),
            (Question::Start(name), Err(error)) => {
                self.start_failed(&name, error.code(), error.to_string());
                Ok(())
            }
            (Question::Notice, _) => Ok(()),
            (_, Err(error)) => Err(helper_failed(error)),
            (_, Ok((reply, _))) => Err(helper_failed(ClientError::unexpected(&reply))),
        }
    }

    fn started(&mut self, name: &Name, descriptors: Descriptors) -> Result<(), Error> {
        let config = self.table.get(name).and_then(|container| container.desired.as_ref()?.config.clone());
        let bounds = config.as_ref().map_or(BOUNDS_OF_UNKNOWN, |config| config.log_bounds);
        self.table.started(name, cri::now());
        Event::of(name, ContainerEvent::Started).log();
        self.forwarding.set(name, config.and_then(|config| config.host_log.clone()));
        let output = output_of(descriptors, bounds)?;
        self.add_output(name, output);
        Ok(())
    }

    /// Notes and logs a start that came to nothing.
    pub(super) fn start_failed(&mut self, name: &Name, code: Code, reason: String) {
        let retry = self.table.start_failed(name, code, reason.clone(), Instant::now());
        Event::of(name, ContainerEvent::StartFailed { reason, retry }).log();
    }

    /// Asks for the descriptors of everything that an earlier manager has left.
    fn adopt(&mut self, page: Containers) -> Result<(), Error> {
        match page.containers.last().filter(|_| page.more) {
            Some(last) => {
                let next = ListContainers { after: Some(last.name.clone()) };
                self.ask(&Request::Containers(next), Question::Containers)?;
            }
            None => self.listed = true,
        }
        for listed in page.containers {
            let name = listed.name.clone();
            let known = self.known.get(&name);
            let (phase, exited) = match listed.state {
                State::Running => (Phase::Running, false),
                State::Exited(exit) => (Phase::Exited(exit), true),
            };
            let run = Run {
                generation: 0,
                phase,
                stop: None::<Stop>,
                started: listed.started,
                digest: listed.digest,
                config: known.map_or_else(RunConfig::unknown, |known| known.run.clone()),
            };
            self.table.adopted(&name, run);
            if exited {
                self.ended.insert(name.clone());
            }
            self.adopting.insert(name.clone());
            self.ask(&Request::Attach(name.clone()), Question::Attach(name))?;
        }
        Ok(())
    }

    fn attach(&mut self, name: &Name, descriptors: Descriptors) -> Result<(), Error> {
        let known = self.known.get(name);
        let bounds = known.map_or(BOUNDS_OF_UNKNOWN, |known| known.bounds);
        self.forwarding.set(name, known.and_then(|known| known.host_log.clone()));
        let output = output_of(descriptors, bounds)?;
        self.add_output(name, output);
        Ok(())
    }
}

/// What `attached` and `started` carry.
fn output_of(descriptors: Descriptors, bounds: Bounds) -> Result<Output, Error> {
    let ContainerDescriptors { pidfd, stdout, stderr, spool, spool_write } =
        descriptors.try_into().map_err(|failure| helper_failed(ClientError::Failed(failure)))?;
    let pipes = Pipes { stdout: Rc::new(stdout), stderr: Rc::new(stderr), spool, spool_write };
    Ok(Output::new(pidfd, pipes, bounds))
}
