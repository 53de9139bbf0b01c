//! The event loop of a manager: one thread that waits for signals, the helper, output, the control socket, work beside it and the
//! clock, and never for anything else. What one container, client, registry or disk does holds up no other.
//!
//! Each turn: what is to be done by the state is asked of the helper; what has come true is answered; then it waits. The manager may be
//! killed at any moment: the helper keeps containers and pipes, and the next manager takes them over.

mod containers;
mod files;
mod output;
mod requests;

use crate::background::Background;
use crate::console::{Console, Shows};
use crate::control::{Handle, Server};
use crate::events::Event;
use crate::helper::{Helper, Question};
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
pub use containers::Known;
use output::Output;
use requests::Waiting;
use rustix::fd::{AsFd, OwnedFd};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// How long to run, and what a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// `casemate up`: until every container has ended for good. The first signal stops them in order, a second one but SIGHUP kills.
    Foreground,
    /// `casemate supervise`: until told to go. A signal leaves the containers to the next manager; SIGHUP reads the file again.
    Service,
    /// `casemate supervise --stop`: until all that runs has ended, in reverse order; nothing is started.
    Stop,
}

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    /// Every container has ended; the exit code of the first one, in file order, that did not end well.
    Ended(Option<Code>),
    /// The containers run on, for the next manager.
    Left,
    /// The file that it began with could not be applied; what an earlier manager left runs on.
    NotApplied(Vec<Error>),
}

/// What a descriptor of the loop is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// SIGINT, SIGTERM and SIGHUP.
    Signals,
    /// The helper's socket.
    Helper,
    /// Reports of work beside the loop.
    Background,
    /// Standard output or error.
    Console,
    /// The control socket.
    Listener,
    /// A connection to it.
    Client(Handle),
    /// A stream of a container.
    Output(Name, Stream),
}

/// What work beside the loop reports.
#[derive(Debug)]
enum Report {
    /// A file is prepared, or all that is wrong with it.
    Prepared(Result<Prepared, Vec<Error>>),
    /// The layers of a container are proven, or why not; the generation that it was for.
    Proven { name: Name, generation: u64, result: Result<(), (Code, String)> },
    /// Images were collected.
    Collected,
}

/// What a loop begins with.
#[derive(Debug)]
pub struct Start {
    /// How long to run.
    pub mode: RunMode,
    /// The file, for a reload.
    pub file: PathBuf,
    /// The helper's socket, greeted as the one that supervises.
    pub helper: (OwnedFd, Codec),
    /// The control socket.
    pub server: Server<Source>,
    /// The reactor that it is registered with.
    pub reactor: Reactor<Source>,
    /// SIGINT, SIGTERM and SIGHUP.
    pub signals: OwnedFd,
    /// The logs of the host that are connected.
    pub forwarding: Forwarding,
    /// The service manager.
    pub notifier: Notifier,
    /// What the file that was applied last says of its containers.
    pub known: BTreeMap<Name, Known>,
    /// Their order in it.
    pub known_order: Vec<Name>,
    /// What files are prepared with.
    pub context: Arc<Context>,
}

/// The loop and all that it turns around.
#[derive(Debug)]
pub struct EventLoop {
    mode: RunMode,
    file: PathBuf,
    context: Arc<Context>,
    reactor: Reactor<Source>,
    signals: Registration<Source>,
    helper: Helper,
    helper_socket: Registration<Source>,
    background: Background<Report>,
    _background: Registration<Source>,
    server: Server<Source>,
    waiting: Waiting,
    table: Table,
    known: BTreeMap<Name, Known>,
    outputs: BTreeMap<Name, Output>,
    /// Ended runs whose output may not be read to the end.
    ended: BTreeSet<Name>,
    retries: BTreeSet<(Instant, Name)>,
    scratch: Rc<ScratchPipe>,
    console: Console,
    console_streams: [Option<Registration<Source>>; 2],
    forwarding: Forwarding,
    status: Status,
    /// Runs of an earlier manager whose descriptors were asked for and not given yet.
    adopting: BTreeSet<Name>,
    listed: bool,
    applied: bool,
    preparing: bool,
    reload_wanted: bool,
    collecting: bool,
    collect_wanted: bool,
    proofs: files::Proofs,
    /// A file that is prepared and waits for the list of what runs.
    prepared: Option<Result<Prepared, Vec<Error>>>,
    not_applied: Option<Vec<Error>>,
    leave: bool,
}

impl EventLoop {
    /// Everything registered, nothing done yet.
    pub fn new(start: Start) -> Result<Self, Error> {
        let failed = |step: &'static str| move |error: rustix::io::Errno| system(step, error);
        let reactor = start.reactor;
        let helper = Helper::new(start.helper).map_err(failed("connect to the helper"))?;
        let background = Background::new().map_err(failed("make a pipe"))?;
        let shows = if start.mode == RunMode::Foreground { Shows::Output } else { Shows::OwnLog };
        let console =
            Console::new(shows).map_err(|error| Error::new(Code::Failed, "standard output", "copy", error))?;
        let register = |fd: &Rc<OwnedFd>, source| {
            reactor.register(fd, Interest::Read, source).map_err(failed("wait for a descriptor"))
        };
        let signals = register(&Rc::new(start.signals), Source::Signals)?;
        let helper_socket = register(helper.socket(), Source::Helper)?;
        let background_reports = register(background.descriptor(), Source::Background)?;
        let scratch = ScratchPipe::new().map_err(|error| Error::new(Code::Failed, "manager", "start", error))?;
        Ok(Self {
            mode: start.mode,
            file: start.file,
            context: start.context,
            signals,
            helper,
            helper_socket,
            background,
            _background: background_reports,
            server: start.server,
            waiting: Waiting::default(),
            table: Table::new(crate::graph::Graph::of_order(&start.known_order)),
            known: start.known,
            outputs: BTreeMap::new(),
            ended: BTreeSet::new(),
            retries: BTreeSet::new(),
            scratch,
            console,
            console_streams: [None, None],
            forwarding: start.forwarding,
            status: Status::new(start.notifier),
            adopting: BTreeSet::new(),
            listed: false,
            applied: false,
            preparing: false,
            reload_wanted: false,
            collecting: false,
            collect_wanted: false,
            proofs: files::Proofs::default(),
            prepared: None,
            not_applied: None,
            leave: false,
            reactor,
        })
    }

    /// Runs until its mode, a signal or a request ends it.
    pub fn run(&mut self) -> Result<Outcome, Error> {
        self.ask(&Request::Containers(ListContainers { after: None }), Question::Containers)?;
        if self.mode == RunMode::Stop {
            self.table.close();
        }
        loop {
            let now = Instant::now();
            self.turn(now)?;
            if let Some(outcome) = self.outcome() {
                return Ok(outcome);
            }
            let until = self.next_moment();
            let ready = self.reactor.wait(until).map_err(|errno| system("wait", errno))?;
            for source in ready {
                self.handle(source)?;
            }
        }
    }

    /// What the state asks for, until nothing more follows from it.
    fn turn(&mut self, now: Instant) -> Result<(), Error> {
        self.retry_outputs(now);
        self.apply_prepared();
        self.finish_ended(now)?;
        self.table.wake(now);
        while let Some((name, action)) = self.table.step(now) {
            self.act(&name, action)?;
        }
        self.start_proofs();
        self.answer_waiting();
        self.begin_files();
        self.server.tick(now);
        let settled = self.applied && !self.preparing && !self.reload_wanted;
        self.status.turn(&self.table, settled, now);
        self.show();
        Ok(())
    }

    /// The earliest moment at which a turn has something to do though nothing is ready.
    fn next_moment(&self) -> Option<Instant> {
        let retry = self.retries.first().map(|(at, _)| *at);
        let moments = [retry, self.table.next_wake(), self.server.next_moment(), self.status.next_moment()];
        moments.into_iter().flatten().min()
    }

    fn handle(&mut self, source: Source) -> Result<(), Error> {
        match source {
            Source::Signals => self.handle_signals()?,
            Source::Helper => self.hear_helper()?,
            Source::Background => self.take_reports()?,
            Source::Console => {}
            Source::Listener => self.server.admit(&self.reactor, Source::Client),
            Source::Client(handle) => {
                if let Some(request) = self.server.serve(handle) {
                    self.take_request(handle, request);
                }
            }
            Source::Output(name, stream) => drop(self.pump(&name, stream)),
        }
        Ok(())
    }

    fn handle_signals(&mut self) -> Result<(), Error> {
        let read = |error| Error::new(Code::Failed, "manager", "read a signal", error);
        while let Some(number) = signal::read(self.signals.as_fd()).map_err(read)? {
            match self.mode {
                RunMode::Service if number == signal::HUP => self.reload_wanted |= !self.table.is_closing(),
                RunMode::Service => self.leave = true,
                // Nothing was applied: what an earlier manager left is left alone.
                RunMode::Foreground if !self.applied && !self.table.is_closing() => self.leave = true,
                // A terminal that goes away says so more than once: the kernel does, and the shell.
                RunMode::Foreground | RunMode::Stop if self.table.is_closing() => {
                    if number != signal::HUP {
                        self.table.kill();
                    }
                }
                RunMode::Foreground | RunMode::Stop => {
                    Event::Stopping.log();
                    self.table.close();
                }
            }
        }
        Ok(())
    }

    /// Everything that an earlier manager left is in the table, and its output is read.
    fn is_adopted(&self) -> bool {
        self.listed && self.adopting.is_empty()
    }

    fn outcome(&mut self) -> Option<Outcome> {
        if let Some(errors) = self.not_applied.take() {
            return Some(Outcome::NotApplied(errors));
        }
        let over = match self.mode {
            _ if self.table.is_closing() => self.is_adopted() && self.table.all_over(),
            RunMode::Foreground => self.applied && self.table.all_over_for_good(),
            RunMode::Service | RunMode::Stop => false,
        };
        if over {
            let code = self.table.in_order().into_iter().find_map(|(_, container)| container.exit_code());
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

    /// Shows what waits, and waits for whoever does not take it.
    fn show(&mut self) {
        self.console.flush();
        let waits = self.console.waits();
        let streams = self.console.streams();
        for ((registration, stream), waits) in self.console_streams.iter_mut().zip(streams).zip(waits) {
            match registration {
                None if waits => {
                    // A regular file is always ready and cannot be registered; it has taken everything above.
                    *registration = self.reactor.register(stream, Interest::Write, Source::Console).ok();
                }
                Some(_) if !waits => *registration = None,
                _ => {}
            }
        }
    }

    fn ask(&mut self, request: &Request, question: Question) -> Result<(), Error> {
        self.helper.ask(request, question).map_err(helper_failed)?;
        let interest = if self.helper.has_outgoing() { Interest::ReadWrite } else { Interest::Read };
        self.helper_socket.set_interest(interest).map_err(|errno| system("wait for the helper", errno))
    }

    /// Ends work beside the loop, shows what waits to be shown, and gives back what is of use after the end: the control socket, for the
    /// last answers. Collecting goes on until it is done or a signal comes, unless the end was asked for.
    pub fn finish(mut self) -> Server<Source> {
        if self.collecting && self.mode == RunMode::Foreground && !self.table.is_closing() {
            self.background.finish_unless(&self.signals);
        } else {
            self.background.end();
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

/// The loop cannot go on without the helper.
fn helper_failed(error: ClientError) -> Error {
    match error {
        ClientError::Closed => Error::new(
            Code::Failed,
            "helper",
            "supervise",
            "it has ended, and every container with it; its log says why",
        ),
        error => error.into(),
    }
}
