//! The event loop of a manager: one thread that waits for signals, the helper, output, the control socket, background work and timers.
//! Nothing in it blocks, so one container, client, registry or disk does not delay another.
//!
//! Each iteration sends the actions that the table requests to the helper, answers requests that are complete, and waits. The manager may
//! be killed at any time: the helper keeps containers and pipes, and the next manager adopts them.

mod apply;
mod containers;
mod output;
mod proofs;
mod requests;

use crate::background::Background;
use crate::console::{Console, ConsoleContent};
use crate::control::{ConnectionId, Server};
use crate::events::Event;
use crate::helper::{Helper, RequestKind};
use crate::logs::{Forwarding, ScratchPipe, Stream};
use crate::notify::Notifier;
use crate::prepare::{Context, Prepared};
use crate::reactor::{Interest, Reactor, Registration};
use crate::status::Status;
use crate::table::Table;
use casemate_client::{Codec, Error as ClientError};
use casemate_error::{Code, Error};
use casemate_sys::signal;
use casemate_wire::frozen::ListContainers;
use casemate_wire::{Name, Request};
pub use containers::AppliedSettings;
use output::Output;
use requests::Waiting;
use rustix::fd::{AsFd, OwnedFd};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// The run mode of a manager: when it ends, and the meaning of signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// `casemate up`: until every container has ended for good. The first signal stops them in order, a second one except SIGHUP kills.
    Foreground,
    /// `casemate supervise`: until a signal, which leaves the containers to the next manager. SIGHUP reads the file again.
    Service,
    /// `casemate supervise --stop`: stops all containers in reverse order; starts none.
    Stop,
}

/// How the loop ended.
#[derive(Debug)]
pub enum Outcome {
    /// Every container has ended; the exit code of the first one, in file order, that failed.
    Ended(Option<Code>),
    /// The containers run on for the next manager.
    Left,
    /// The first file could not be applied; containers of an earlier manager run on.
    NotApplied(Vec<Error>),
}

/// The event source of a registered descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventSource {
    /// SIGINT, SIGTERM and SIGHUP.
    Signals,
    /// The helper's socket.
    Helper,
    /// Results of background work.
    Background,
    /// Standard output or error.
    Console,
    /// The control socket.
    Listener,
    /// A connection of the control socket.
    Client(ConnectionId),
    /// The output stream of a container.
    Output(Name, Stream),
}

/// The result of background work.
#[derive(Debug)]
enum WorkResult {
    /// A prepared file, or all its errors.
    Prepared(Result<Prepared, Vec<Error>>),
    /// The proof of a container's layers, and the generation that it was for.
    Proven { name: Name, generation: u64, result: Result<(), (Code, String)> },
    /// Image collection has ended.
    Collected,
}

/// The inputs of a new loop.
#[derive(Debug)]
pub struct LoopConfig {
    /// The run mode.
    pub mode: RunMode,
    /// The file, for a reload.
    pub file: PathBuf,
    /// The connection to the helper, opened with `supervise`.
    pub helper: (OwnedFd, Codec),
    /// The control socket.
    pub server: Server<EventSource>,
    /// The reactor with which it is registered.
    pub reactor: Reactor<EventSource>,
    /// SIGINT, SIGTERM and SIGHUP.
    pub signals: OwnedFd,
    /// The connected host logs.
    pub forwarding: Forwarding,
    /// The connection to the service manager.
    pub notifier: Notifier,
    /// Settings of the last applied file, for containers of an earlier manager.
    pub applied_settings: BTreeMap<Name, AppliedSettings>,
    /// The order of the last applied file.
    pub applied_order: Vec<Name>,
    /// The context for preparing files.
    pub context: Arc<Context>,
}

/// The loop and its state.
#[derive(Debug)]
pub struct EventLoop {
    mode: RunMode,
    file: PathBuf,
    context: Arc<Context>,
    reactor: Reactor<EventSource>,
    signals: Registration<EventSource>,
    helper: Helper,
    helper_socket: Registration<EventSource>,
    background: Background<WorkResult>,
    _background: Registration<EventSource>,
    server: Server<EventSource>,
    waiting: Waiting,
    table: Table,
    applied_settings: BTreeMap<Name, AppliedSettings>,
    outputs: BTreeMap<Name, Output>,
    /// Ended runs with output left to read.
    ended: BTreeSet<Name>,
    retries: BTreeSet<(Instant, Name)>,
    scratch: Rc<ScratchPipe>,
    console: Console,
    console_streams: [Option<Registration<EventSource>>; 2],
    forwarding: Forwarding,
    status: Status,
    /// Runs of an earlier manager whose descriptors have not arrived.
    adopting: BTreeSet<Name>,
    listed: bool,
    applied: bool,
    preparing: bool,
    reload_requested: bool,
    collecting: bool,
    collect_requested: bool,
    proofs: proofs::Proofs,
    /// A prepared file that waits until the helper's containers are adopted.
    prepared: Option<Result<Prepared, Vec<Error>>>,
    not_applied: Option<Vec<Error>>,
    leave: bool,
}

impl EventLoop {
    /// Registers all descriptors.
    pub fn new(config: LoopConfig) -> Result<Self, Error> {
        let failed = |step: &'static str| move |error: rustix::io::Errno| system(step, error);
        let reactor = config.reactor;
        let helper = Helper::new(config.helper).map_err(failed("connect to the helper"))?;
        let background = Background::new().map_err(failed("make a pipe"))?;
        let content =
            if config.mode == RunMode::Foreground { ConsoleContent::OutputAndLog } else { ConsoleContent::Log };
        let console =
            Console::new(content).map_err(|error| Error::new(Code::Failed, "standard output", "copy", error))?;
        let register = |fd: &Rc<OwnedFd>, source| {
            reactor.register(fd, Interest::Read, source).map_err(failed("wait for a descriptor"))
        };
        let signals = register(&Rc::new(config.signals), EventSource::Signals)?;
        let helper_socket = register(helper.socket(), EventSource::Helper)?;
        let background_reports = register(background.descriptor(), EventSource::Background)?;
        let scratch = ScratchPipe::new().map_err(|error| Error::new(Code::Failed, "manager", "start", error))?;
        Ok(Self {
            mode: config.mode,
            file: config.file,
            context: config.context,
            signals,
            helper,
            helper_socket,
            background,
            _background: background_reports,
            server: config.server,
            waiting: Waiting::default(),
            table: Table::new(crate::graph::Graph::from_order(&config.applied_order)),
            applied_settings: config.applied_settings,
            outputs: BTreeMap::new(),
            ended: BTreeSet::new(),
            retries: BTreeSet::new(),
            scratch,
            console,
            console_streams: [None, None],
            forwarding: config.forwarding,
            status: Status::new(config.notifier),
            adopting: BTreeSet::new(),
            listed: false,
            applied: false,
            preparing: false,
            reload_requested: false,
            collecting: false,
            collect_requested: false,
            proofs: proofs::Proofs::default(),
            prepared: None,
            not_applied: None,
            leave: false,
            reactor,
        })
    }

    /// Runs until the run mode, a signal or a request ends it.
    pub fn run(&mut self) -> Result<Outcome, Error> {
        self.send_request(&Request::Containers(ListContainers { after: None }), RequestKind::Containers)?;
        if self.mode == RunMode::Stop {
            self.table.stop_all();
        }
        loop {
            let now = Instant::now();
            self.iterate(now)?;
            if let Some(outcome) = self.outcome() {
                return Ok(outcome);
            }
            let deadline = self.next_deadline();
            let ready = self.reactor.wait(deadline).map_err(|errno| system("wait", errno))?;
            for source in ready {
                self.handle(source)?;
            }
        }
    }

    /// Applies what has arrived, and performs the actions that follow from it.
    fn iterate(&mut self, now: Instant) -> Result<(), Error> {
        self.retry_outputs(now);
        self.apply_prepared();
        self.finish_ended(now)?;
        // Before the table's actions, which these requests can add to.
        self.handle_early_requests();
        self.table.wake(now);
        while let Some((name, action)) = self.table.step(now) {
            self.perform(&name, action)?;
        }
        self.start_proofs();
        self.answer_waiting();
        self.begin_requested_work();
        self.server.tick(now);
        let settled = self.applied && !self.preparing && !self.reload_requested;
        self.status.update(&self.table, settled, now);
        self.flush_console();
        Ok(())
    }

    /// When the next iteration is due if no descriptor becomes ready before.
    fn next_deadline(&self) -> Option<Instant> {
        let retry = self.retries.first().map(|(at, _)| *at);
        let deadlines = [retry, self.table.next_wake(), self.server.next_deadline(), self.status.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn handle(&mut self, source: EventSource) -> Result<(), Error> {
        match source {
            EventSource::Signals => self.handle_signals()?,
            EventSource::Helper => self.handle_helper()?,
            EventSource::Background => self.handle_results()?,
            EventSource::Console => {}
            EventSource::Listener => self.server.accept(&self.reactor, EventSource::Client),
            EventSource::Client(id) => {
                if let Some(request) = self.server.serve(id) {
                    self.handle_request(id, request);
                }
            }
            EventSource::Output(name, stream) => drop(self.pump(&name, stream)),
        }
        Ok(())
    }

    fn handle_signals(&mut self) -> Result<(), Error> {
        let read = |error| Error::new(Code::Failed, "manager", "read a signal", error);
        while let Some(number) = signal::read(self.signals.as_fd()).map_err(read)? {
            match self.mode {
                RunMode::Service if number == signal::HUP => self.reload_requested |= !self.table.is_stopping(),
                RunMode::Service => self.leave = true,
                // No file was applied: containers of an earlier manager are left running.
                RunMode::Foreground if !self.applied && !self.table.is_stopping() => self.leave = true,
                // On a hangup of the terminal SIGHUP comes twice, from the kernel and the shell: it must not kill.
                RunMode::Foreground | RunMode::Stop if self.table.is_stopping() => {
                    if number != signal::HUP {
                        self.table.kill_all();
                    }
                }
                RunMode::Foreground | RunMode::Stop => {
                    Event::Stopping.log();
                    self.table.stop_all();
                }
            }
        }
        Ok(())
    }

    /// Whether all containers of an earlier manager are in the table and their output is read.
    fn is_adopted(&self) -> bool {
        self.listed && self.adopting.is_empty()
    }

    fn outcome(&mut self) -> Option<Outcome> {
        if let Some(errors) = self.not_applied.take() {
            return Some(Outcome::NotApplied(errors));
        }
        let ended = match self.mode {
            _ if self.table.is_stopping() => self.is_adopted() && self.table.all_ended(),
            RunMode::Foreground => self.applied && self.table.all_ended_by_themselves(),
            RunMode::Service | RunMode::Stop => false,
        };
        if ended {
            let code = self.table.in_order().find_map(|(_, container)| container.exit_code());
            return Some(Outcome::Ended(code));
        }
        match self.leave {
            false => None,
            true if self.applied => Some(Outcome::Left),
            true => {
                let interrupted = Error::new(Code::Failed, self.file.display(), "apply", "interrupted by a signal");
                Some(Outcome::NotApplied(vec![interrupted]))
            }
        }
    }

    /// Writes buffered lines, and registers streams that are full.
    fn flush_console(&mut self) {
        self.console.flush();
        let pending = self.console.has_pending();
        let streams = self.console.streams();
        for ((registration, stream), pending) in self.console_streams.iter_mut().zip(streams).zip(pending) {
            match registration {
                None if pending => {
                    // A regular file cannot be registered; it is always writable, so nothing is pending.
                    *registration = self.reactor.register(stream, Interest::Write, EventSource::Console).ok();
                }
                Some(_) if !pending => *registration = None,
                _ => {}
            }
        }
    }

    fn send_request(&mut self, request: &Request, kind: RequestKind) -> Result<(), Error> {
        self.helper.send_request(request, kind).map_err(helper_failed)?;
        let interest = if self.helper.has_outgoing() { Interest::ReadWrite } else { Interest::Read };
        self.helper_socket.set_interest(interest).map_err(|errno| system("wait for the helper", errno))
    }

    /// Ends background work and writes buffered lines. Returns the control socket, for the last responses. After `casemate up` ended by
    /// itself, image collection is finished unless a signal comes.
    pub fn finish(mut self) -> Server<EventSource> {
        if self.collecting && self.mode == RunMode::Foreground && !self.table.is_stopping() {
            self.background.finish_unless(&self.signals);
        } else {
            self.background.interrupt();
        }
        for name in self.outputs.keys() {
            self.forwarding.end(name);
        }
        self.console.finish();
        self.server
    }
}

fn system(step: &'static str, errno: rustix::io::Errno) -> Error {
    Error::new(Code::Failed, "manager", step, errno)
}

/// An error of the connection to the helper, which ends the loop.
fn helper_failed(error: ClientError) -> Error {
    match error {
        ClientError::Closed => Error::new(
            Code::Failed,
            "helper",
            "supervise",
            "it has ended, and every container with it; log: helper.log in the run directory, or journalctl -u casemate-helper",
        ),
        error => error.into(),
    }
}
