//! The loop.

use super::ask::Pending;
use super::container::{Container, Phase, Why};
use super::report::is_decided;
use super::{Error, Order, Report, Show, Supervisor};
use crate::control::{Handle, Server};
use crate::logs::Stream;
use casemate_client::Client;
use casemate_error::Code;
use casemate_sys::signal;
use casemate_wire::Event;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::time::Instant;

/// How long to supervise, and what a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Until every container has ended for good. The first signal stops them in order, a second one but SIGHUP kills.
    WithContainers,
    /// Until told to go. A signal leaves the containers to the next manager; SIGHUP has the file read again.
    AsService,
    /// Until all that runs has ended, in reverse order: nothing is started.
    ToStop,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every container ended with 0 or because it was asked to.
    Good,
    /// The first container, in file order, that did not.
    Bad(Code),
    /// The containers run on, for the next manager.
    Left,
    /// Not an end: everything that was applied is up. Said once, and once more after each reload.
    Up,
    /// Not an end: the file is to be read again, and then to go on ([`Attendance::apply`], [`Attendance::run`]).
    Reload,
}

/// What a descriptor of the loop is.
#[derive(Debug, Clone, Copy)]
enum Source {
    Signals,
    Beside,
    Helper,
    Screen,
    Control(Option<Handle>),
    Output(usize, Stream),
}

/// Everything that is attended to. Between two runs nothing is: containers run on, and their output waits.
#[derive(Debug)]
pub struct Attendance {
    supervisor: Supervisor,
    server: Server,
    report: Report,
    waiting: Vec<Pending>,
    /// [`Ending::Up`] has been said.
    up: bool,
    /// Work beside the loop, which may have words to show when it ends.
    beside: Option<OwnedFd>,
}

impl Attendance {
    /// What the loop turns around.
    pub fn new(supervisor: Supervisor, server: Server, report: Report) -> Self {
        Self { supervisor, server, report, waiting: Vec::new(), up: false, beside: None }
    }

    /// Supervises as long as `stay` says, or until everything was asked to end and has. `signals` are SIGINT, SIGTERM and SIGHUP.
    pub fn run(&mut self, signals: &OwnedFd, stay: Stay) -> Result<Ending, Error> {
        self.supervisor.closing |= stay == Stay::ToStop;
        loop {
            let Self { supervisor, server, report, waiting, up, beside } = self;
            let now = Instant::now();
            let due = supervisor.tick(now)?;
            waiting.retain_mut(|pending| supervisor.keeps_waiting(server, pending));
            let asked = server.tick(now);
            supervisor.show.flush();
            let next = report.turn(&supervisor.containers, supervisor.closing, now);
            let all_up = !supervisor.closing && supervisor.containers.iter().all(is_up);
            if all_up && !std::mem::replace(up, true) {
                return Ok(Ending::Up);
            }
            if is_done(supervisor, stay) {
                break;
            }
            let due = due.into_iter().chain(asked).chain(next).min();
            for source in ready(supervisor, server, (signals, beside.as_ref()), due)? {
                match source {
                    Source::Signals if stay == Stay::AsService => {
                        if let Some(ending) = service_told(signals, supervisor.closing)? {
                            return Ok(ending);
                        }
                    }
                    Source::Signals => told(supervisor, signals)?,
                    Source::Helper => {}
                    Source::Beside => *beside = None,
                    Source::Screen => supervisor.show.flush(),
                    Source::Control(None) => server.admit(),
                    Source::Control(Some(handle)) => {
                        if let Some(request) = server.serve(handle) {
                            waiting.extend(supervisor.ask(server, handle, request)?);
                        }
                    }
                    Source::Output(n, stream) => drop(supervisor.pump(n, stream)),
                }
            }
            while let Some(Event::Exited { name, exit }) = supervisor.client.next_event().map_err(Error::Helper)? {
                supervisor.exited(&name, exit);
            }
            if std::mem::take(&mut supervisor.reload) && self.may_reload(stay) {
                return Ok(Ending::Reload);
            }
        }
        let verdict = self.supervisor.containers.iter().find_map(Container::verdict);
        Ok(verdict.map_or(Ending::Good, Ending::Bad))
    }

    /// Whether there is a file to read again; whoever has asked for it is told why not.
    fn may_reload(&mut self, stay: Stay) -> bool {
        let (reason, code) = match (stay, self.supervisor.closing) {
            (Stay::AsService, false) => return true,
            (Stay::AsService | Stay::ToStop, _) => ("everything is being stopped", Code::Failed),
            (Stay::WithContainers, _) => {
                ("`casemate up` does not read its file again: end it and start it anew", Code::Usage)
            }
        };
        self.refuse_reload(reason, code);
        false
    }

    /// Whether somebody has asked for the end of all.
    pub fn is_closing(&self) -> bool {
        self.supervisor.closing
    }

    /// Says that a reload has begun; [`Self::run`] says when all that is then in the file is up.
    pub fn reloading(&mut self) {
        self.report.reloading();
        self.up = false;
    }

    /// From now on the loop turns when this descriptor has something to read or is closed at its other end: once.
    pub fn beside(&mut self, descriptor: OwnedFd) {
        self.beside = Some(descriptor);
    }

    /// Tells whoever asked for a reload that there is none.
    pub fn refuse_reload(&mut self, reason: &str, code: Code) {
        let reason = format!("reload: {reason}");
        let asked = |pending: &Pending| pending.is_for_reload();
        self.waiting
            .iter()
            .filter(|pending| asked(pending))
            .for_each(|pending| pending.refuse(&mut self.server, reason.clone(), code));
        self.waiting.retain(|pending| !asked(pending));
    }

    /// The connection to the helper, for what a reload needs of it.
    pub fn client(&mut self) -> &mut Client {
        &mut self.supervisor.client
    }

    /// Where output goes.
    pub fn show(&mut self) -> &mut Show {
        &mut self.supervisor.show
    }

    /// Goes on with these orders.
    pub fn apply(&mut self, orders: Vec<Order>) -> Result<(), Error> {
        self.supervisor.apply(orders)
    }

    /// Shows what waits to be shown, and gives back what is of use after the end.
    pub fn finish(self) -> (Client, Server) {
        self.supervisor.show.finish();
        (self.supervisor.client, self.server)
    }
}

/// It was started, be it that it has ended since. One that cannot be is not up: its file takes nothing of an older one away.
fn is_up(container: &Container) -> bool {
    is_decided(container) && !matches!(container.phase, Phase::Ended(Why::Failed(_)))
}

/// Nothing is left to supervise.
fn is_done(supervisor: &Supervisor, stay: Stay) -> bool {
    match (supervisor.closing, stay) {
        (true, _) => supervisor.containers.iter().all(Container::is_over),
        (false, Stay::WithContainers) => supervisor.containers.iter().all(Container::is_over_for_good),
        (false, Stay::AsService | Stay::ToStop) => false,
    }
}

/// What a service's signals ask for. While all is being stopped there is nothing that a file could change.
fn service_told(signals: &OwnedFd, closing: bool) -> Result<Option<Ending>, Error> {
    let mut ending = None;
    while let Some(number) = signal::read(signals.as_fd()).map_err(|error| Error::System("read a signal", error))? {
        ending = match number {
            signal::HUP if closing => ending,
            signal::HUP => ending.or(Some(Ending::Reload)),
            _ => Some(Ending::Left),
        };
    }
    Ok(ending)
}

/// The first signal asks for the end, the next ones force it, SIGHUP never.
fn told(supervisor: &mut Supervisor, signals: &OwnedFd) -> Result<(), Error> {
    while let Some(number) = signal::read(signals.as_fd()).map_err(|error| Error::System("read a signal", error))? {
        // A terminal that goes away says so more than once: the kernel does, and the shell.
        if supervisor.closing && number != signal::HUP {
            supervisor.kill_all()?;
        }
        if !supervisor.closing {
            log::info!("stopping all containers, the last one first; Ctrl-C again kills them");
        }
        supervisor.closing = true;
    }
    Ok(())
}

/// Waits until something is ready or due.
fn ready(
    supervisor: &Supervisor,
    server: &Server,
    (signals, beside): (&OwnedFd, Option<&OwnedFd>),
    due: Option<Instant>,
) -> Result<Vec<Source>, Error> {
    let mut sources = vec![Source::Signals, Source::Helper];
    let mut descriptors = vec![PollFd::new(signals, PollFlags::IN), PollFd::new(&supervisor.client, PollFlags::IN)];
    sources.extend(beside.map(|_| Source::Beside));
    descriptors.extend(beside.map(|beside| PollFd::new(beside, PollFlags::IN)));
    for screen in supervisor.show.wants() {
        sources.push(Source::Screen);
        descriptors.push(PollFd::from_borrowed_fd(screen, PollFlags::OUT));
    }
    for (handle, descriptor, wanted) in server.sources() {
        sources.push(Source::Control(handle));
        descriptors.push(PollFd::from_borrowed_fd(descriptor, wanted));
    }
    for (n, container) in supervisor.containers.iter().enumerate() {
        for (live, stream) in container.live.iter().flat_map(|live| live.streams().map(move |s| (live, s))) {
            sources.push(Source::Output(n, stream));
            descriptors.push(PollFd::from_borrowed_fd(live.pump().source(stream), PollFlags::IN));
        }
    }
    let rest = if supervisor.client.has_kept_events() {
        Some(Timespec { tv_sec: 0, tv_nsec: 0 })
    } else {
        due.map(|due| {
            let rest = due.saturating_duration_since(Instant::now());
            let seconds = i64::try_from(rest.as_secs()).unwrap_or(i64::MAX);
            Timespec { tv_sec: seconds, tv_nsec: rest.subsec_nanos().into() }
        })
    };
    match poll(&mut descriptors, rest.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(Error::System("wait", errno.into())),
    }
    let hit = descriptors.iter().map(|descriptor| !descriptor.revents().is_empty());
    Ok(sources.into_iter().zip(hit).filter_map(|(source, hit)| hit.then_some(source)).collect())
}
