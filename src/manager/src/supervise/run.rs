//! The loop.

use super::ask::Pending;
use super::container::Container;
use super::{Error, Report, Supervisor};
use crate::control::{Handle, Server};
use crate::exit::Code;
use crate::helper_client::Client;
use crate::logs::Stream;
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
    /// Until told to go. A signal but SIGHUP leaves the containers to the next manager.
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
}

/// What a descriptor of the loop is.
#[derive(Debug, Clone, Copy)]
enum Source {
    Signals,
    Helper,
    Screen,
    Control(Option<Handle>),
    Output(usize, Stream),
}

/// Supervises as long as `stay` says, or until everything was asked to end and has. `signals` are SIGINT, SIGTERM and SIGHUP.
pub fn run(
    mut supervisor: Supervisor,
    mut server: Server,
    signals: &OwnedFd,
    stay: Stay,
    mut report: Report,
) -> Result<(Client, Server, Ending), Error> {
    let mut waiting: Vec<Pending> = Vec::new();
    supervisor.closing = stay == Stay::ToStop;
    loop {
        let now = Instant::now();
        let due = supervisor.tick(now)?;
        waiting.retain_mut(|pending| supervisor.keeps_waiting(&mut server, pending));
        let asked = server.tick(now);
        supervisor.show.flush();
        let next = report.turn(&supervisor.containers, supervisor.closing, now);
        if is_done(&supervisor, stay) {
            break;
        }
        let due = due.into_iter().chain(asked).chain(next).min();
        for source in ready(&supervisor, &server, signals, due)? {
            match source {
                Source::Signals if stay == Stay::AsService => {
                    if is_told_to_go(signals)? {
                        supervisor.show.finish();
                        return Ok((supervisor.client, server, Ending::Left));
                    }
                }
                Source::Signals => told(&mut supervisor, signals)?,
                Source::Helper => {}
                Source::Screen => supervisor.show.flush(),
                Source::Control(None) => server.admit(),
                Source::Control(Some(handle)) => {
                    if let Some(request) = server.serve(handle) {
                        waiting.extend(supervisor.ask(&mut server, handle, request)?);
                    }
                }
                Source::Output(n, stream) => drop(supervisor.pump(n, stream)),
            }
        }
        while let Some(Event::Exited { name, exit }) = supervisor.client.next_event().map_err(Error::Helper)? {
            supervisor.exited(&name, exit);
        }
    }
    let verdict = supervisor.containers.iter().find_map(Container::verdict);
    supervisor.show.finish();
    Ok((supervisor.client, server, verdict.map_or(Ending::Good, Ending::Bad)))
}

/// Nothing is left to supervise.
fn is_done(supervisor: &Supervisor, stay: Stay) -> bool {
    match (supervisor.closing, stay) {
        (true, _) => supervisor.containers.iter().all(Container::is_over),
        (false, Stay::WithContainers) => supervisor.containers.iter().all(Container::is_over_for_good),
        (false, Stay::AsService | Stay::ToStop) => false,
    }
}

/// SIGHUP is left to mean, one day, that the file is to be read again.
fn is_told_to_go(signals: &OwnedFd) -> Result<bool, Error> {
    while let Some(number) = signal::read(signals.as_fd()).map_err(|error| Error::System("read a signal", error))? {
        if number != signal::HUP {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first signal asks for the end, the next ones force it, SIGHUP never.
fn told(supervisor: &mut Supervisor, signals: &OwnedFd) -> Result<(), Error> {
    while let Some(number) = signal::read(signals.as_fd()).map_err(|error| Error::System("read a signal", error))? {
        // A terminal that goes away says so more than once: the kernel does, and the shell.
        if supervisor.closing && number != signal::HUP {
            supervisor.kill_all()?;
        }
        if !supervisor.closing {
            supervisor.show.say("stopping all containers, the last one first; Ctrl-C again kills them");
        }
        supervisor.closing = true;
    }
    Ok(())
}

/// Waits until something is ready or due.
fn ready(
    supervisor: &Supervisor,
    server: &Server,
    signals: &OwnedFd,
    due: Option<Instant>,
) -> Result<Vec<Source>, Error> {
    let mut sources = vec![Source::Signals, Source::Helper];
    let mut descriptors = vec![PollFd::new(signals, PollFlags::IN), PollFd::new(&supervisor.client, PollFlags::IN)];
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
