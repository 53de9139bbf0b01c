//! The table of containers and what is done to it: starts, ends, restarts, stops. Each function does one step and returns; the
//! waiting is done in the loop (`run`).

use super::backoff::Next;
use super::container::{Container, Live, Order, Phase, Then, Why};
use super::show::Show;
use super::{Error, adopt};
use crate::launch::Directories;
use crate::logs::{Bounds, Glass, Pipes, Pump, Stream, cri};
use casemate_client::{Client, ClientError};
use casemate_error::Code;
use casemate_image as image;
use casemate_wire::{Exit, Name, Reply, Request};
use log::Level;
use rustix::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a container that the file no longer has may take to end, and how it is asked.
const GRACE_OF_STRANGERS: Duration = Duration::from_secs(10);
/// What is kept of its output.
const BOUNDS_OF_STRANGERS: Bounds = Bounds { size: 8 << 20, count: 3 };

/// Chunks that an ended container's pipe can hold: 1 MiB (pipe-max-size) in pieces of 4096 bytes, and as many buffers.
const LAST_TURNS: usize = 512;

/// How long the output of a container that was asked to end may wait for a log that cannot be written, a full disk's above all:
/// one that fills the disk must not keep itself and those before it from being stopped.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// All containers of an instance.
#[derive(Debug)]
pub struct Supervisor {
    pub(super) client: Client,
    pub(super) directories: Directories,
    pub(super) containers: Vec<Container>,
    pub(super) show: Show,
    pub(super) glass: Rc<Glass>,
    /// Everything is to end, in reverse order.
    pub(super) closing: bool,
    /// Somebody has asked for a reload.
    pub(super) reload: bool,
}

impl Supervisor {
    /// Takes over what runs, and has the rest wait for its start.
    pub fn new(client: Client, directories: Directories, orders: Vec<Order>, show: Show) -> Result<Self, Error> {
        let glass = Glass::new().map_err(Error::Glass)?;
        let now = Instant::now();
        let containers =
            orders.into_iter().map(|order| Container::new(order.job.name.clone(), Some(order), now)).collect();
        let mut supervisor = Self { client, directories, containers, show, glass, closing: false, reload: false };
        adopt::adopt(&mut supervisor)?;
        Ok(supervisor)
    }

    /// Does what time has made due, and says when to come back.
    pub fn tick(&mut self, now: Instant) -> Result<Option<Instant>, Error> {
        let strangers = self.has_strangers();
        let mut started = false;
        for n in 0..self.containers.len() {
            let Some(container) = self.containers.get_mut(n) else { continue };
            if let Some(live) = &mut container.live {
                live.wake(now);
            }
            match container.phase {
                // The file's containers wait until what it no longer has, or has otherwise, is out of their way. One a turn, so that many of
                // them do not keep output and requests waiting.
                Phase::Waiting(due) if due <= now && !strangers && !started && !self.closing => {
                    started = true;
                    self.start(n)?;
                }
                Phase::Stopping { kill_at: Some(due), then } if due <= now => {
                    container.phase = Phase::Stopping { kill_at: None, then };
                    let name = container.name.clone();
                    log::warn!(container:% = name; "does not end: killed");
                    self.tell(Request::Kill(name))?;
                }
                _ => {}
            }
            self.settle(n)?;
        }
        self.containers.retain(|container| {
            let stays = container.order.is_some() || !container.is_over();
            if !stays {
                self.show.send_on(&container.name, None);
            }
            stays
        });
        if self.closing {
            self.stop_last()?;
        }
        // The last of them may just have gone, and nothing else has to happen before the others' turn.
        let strangers = self.has_strangers();
        let due = |container: &Container| match container.phase {
            Phase::Waiting(at) if !strangers => Some(at),
            Phase::Stopping { kill_at, .. } => kill_at,
            _ => None,
        };
        let rests = |container: &Container| container.live.as_ref().and_then(Live::rests_until);
        Ok(self.containers.iter().flat_map(|container| [due(container), rests(container)]).flatten().min())
    }

    /// Whether something runs that the file does not have, or not so.
    fn has_strangers(&self) -> bool {
        let outdated = |container: &Container| container.live.as_ref().is_some_and(|live| live.outdated);
        self.containers.iter().any(|container| container.order.is_none() || outdated(container))
    }

    /// Starts one container now.
    fn start(&mut self, n: usize) -> Result<(), Error> {
        self.forget(n)?;
        let Some(container) = self.containers.get_mut(n) else { return Ok(()) };
        let Some(order) = &container.order else { return Ok(()) };
        if order.prove_layers {
            let (state, preload) = (&self.directories.state, self.directories.preloaded());
            match image::prove_layers(&mut self.client, state, preload, &order.job.layers) {
                Ok(()) => {}
                Err(image::Error::Helper { error, .. }) if !matches!(error, ClientError::Failed(_)) => {
                    return Err(Error::Helper(error));
                }
                Err(error) => {
                    let (code, text) = (error.code(), error.to_string());
                    log::error!(container:% = container.name; "start: {text}");
                    start_failed(container, code, text);
                    return Ok(());
                }
            }
        }
        let outcome = self.client.call(Request::Start(Box::new(order.job.clone())), &[]);
        match outcome {
            Ok((Reply::Started, descriptors)) => {
                let (live, complaint) =
                    attach(&self.directories, &self.glass, container, descriptors, cri::now(), None)?;
                (container.live, container.phase, container.failure) = (Some(live), Phase::Running, None);
                self.show.send_on(&container.name, order.host.clone());
                log::info!(container:% = container.name; "started");
                if let Some(complaint) = complaint {
                    log::warn!(container:% = container.name; "{complaint}");
                }
                Ok(())
            }
            Ok(_) => Err(Error::Helper(ClientError::Protocol("not the answer to a start"))),
            Err(ClientError::Failed(failure)) => {
                let code = Code::from(failure.kind);
                let text = ClientError::Failed(failure).to_string();
                log::error!(container:% = container.name; "start: {text}");
                start_failed(container, code, text);
                Ok(())
            }
            Err(error) => Err(Error::Helper(error)),
        }
    }

    /// The helper says that a container has ended.
    pub fn exited(&mut self, name: &Name, exit: Exit) {
        let container = self.containers.iter_mut().find(|container| container.name == *name);
        if let Some(live) = container.and_then(|container| container.live.as_mut()) {
            live.exited = Some(exit);
        }
    }

    /// Moves one chunk of output.
    pub fn pump(&mut self, n: usize, stream: Stream) -> bool {
        let Some(container) = self.containers.get_mut(n) else { return false };
        let Some(live) = &mut container.live else { return false };
        let (moved, complaint) = live.turn(stream);
        if moved {
            self.show.output(&container.name, stream, live.pump().chunk());
        }
        if let Some(complaint) = complaint {
            log::warn!(container:% = container.name; "its output waits: {complaint}");
        }
        moved
    }

    /// Ends a run: all output is read, then it is decided what follows. What has ended for good stays known to the helper.
    fn settle(&mut self, n: usize) -> Result<(), Error> {
        let Some(exit) = self.containers.get(n).and_then(|c| c.live.as_ref()?.exited) else { return Ok(()) };
        for stream in [Stream::Stdout, Stream::Stderr] {
            // Every turn takes a buffer of the pipe or 4096 bytes, so all that its payload has left is out by then. Whoever was
            // handed the write end through a socket in a shared volume does not keep us here.
            (0..LAST_TURNS).all(|_| self.pump(n, stream));
        }
        let Some(container) = self.containers.get_mut(n) else { return Ok(()) };
        if container.live.as_ref().is_some_and(|live| live.rests_until().is_some()) {
            let asked = self.closing || matches!(container.phase, Phase::Stopping { .. });
            let waits = Duration::from_nanos(cri::now().saturating_sub(exit.at)) < LAST_WORDS;
            if waits || !asked {
                return Ok(());
            }
            log::error!(container:% = container.name; "its last output is lost: its log cannot be written");
        }
        let started = container.live.take().map_or(exit.at, |live| live.started);
        container.exit = Some(exit);
        self.show.ended(&container.name);
        container.kept = true;
        let ran = Duration::from_nanos(exit.at.saturating_sub(started));
        let how = after(container, exit, ran, self.closing, Instant::now());
        let level = match container.phase {
            Phase::Ended(Why::GaveUp) => Level::Error,
            Phase::Ended(Why::Stopped) => Level::Info,
            _ if exit.code == 0 && exit.oom_kills == 0 => Level::Info,
            _ => Level::Warn,
        };
        log::log!(level, container:% = container.name; "{how}");
        if container.is_over_for_good() && container.order.is_some() {
            return Ok(());
        }
        self.forget(n)
    }

    /// Has the helper free what it keeps of an ended container.
    pub(super) fn forget(&mut self, n: usize) -> Result<(), Error> {
        match self.containers.get_mut(n).filter(|container| container.kept) {
            Some(container) => {
                container.kept = false;
                let name = container.name.clone();
                self.tell(Request::Forget(name))
            }
            None => Ok(()),
        }
    }

    /// Asks one container to end, and remembers what is wanted then.
    pub fn stop(&mut self, n: usize, then: Then) -> Result<(), Error> {
        let Some(container) = self.containers.get_mut(n) else { return Ok(()) };
        container.backoff.reset();
        match (&mut container.phase, then) {
            (Phase::Stopping { then: wanted, .. }, _) => *wanted = then,
            (Phase::Running, _) => {
                let order = container.order.as_ref();
                let grace = order.map_or(GRACE_OF_STRANGERS, |order| order.grace);
                let signal = order.map_or(casemate_sys::signal::TERM, |order| order.stop_signal);
                container.phase = Phase::Stopping { kill_at: Some(Instant::now() + grace), then };
                let name = container.name.clone();
                self.tell(Request::Signal { name, signal })?;
            }
            (Phase::Waiting(_) | Phase::Ended(_), Then::Start) => {
                container.phase = Phase::Waiting(Instant::now());
            }
            (Phase::Waiting(_), Then::Rest) => container.phase = Phase::Ended(Why::Stopped),
            // Of what has ended for good the reason stays known, unless somebody is to be told that it rests.
            (Phase::Ended(_), Then::Rest) => {}
        }
        Ok(())
    }

    /// In reverse order, each when the one after it has ended.
    fn stop_last(&mut self) -> Result<(), Error> {
        for n in (0..self.containers.len()).rev() {
            match self.containers.get(n) {
                Some(container) if container.is_over() => {}
                Some(_) => {
                    self.stop(n, Then::Rest)?;
                    if self.containers.get(n).is_none_or(|container| !container.is_over()) {
                        return Ok(());
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Kills everything at once.
    pub fn kill_all(&mut self) -> Result<(), Error> {
        self.closing = true;
        let running: Vec<Name> = self.containers.iter().filter(|c| c.live.is_some()).map(|c| c.name.clone()).collect();
        for container in &mut self.containers {
            if container.live.is_some() {
                container.phase = Phase::Stopping { kill_at: None, then: Then::Rest };
            }
        }
        running.into_iter().try_for_each(|name| self.tell(Request::Kill(name)))
    }

    /// A request that may come too late: the container has ended meanwhile, and its event is on the way.
    fn tell(&mut self, request: Request) -> Result<(), Error> {
        match self.client.done(request) {
            Ok(()) | Err(ClientError::Failed(_)) => Ok(()),
            Err(error) => Err(Error::Helper(error)),
        }
    }
}

/// A container's descriptors as [`Request::Attach`] gives them, and what could not be written yet of the holding pipe.
pub(super) fn attach(
    directories: &Directories,
    glass: &Rc<Glass>,
    container: &Container,
    descriptors: Vec<OwnedFd>,
    started: u64,
    exited: Option<Exit>,
) -> Result<(Live, Option<String>), Error> {
    let [pidfd, stdout, stderr, hold, hold_write] = <[OwnedFd; 5]>::try_from(descriptors)
        .map_err(|_| Error::Helper(ClientError::Protocol("not the five descriptors of a container")))?;
    let bounds = container.order.as_ref().map_or(BOUNDS_OF_STRANGERS, |order| order.bounds);
    let pipes = Pipes { stdout, stderr, hold, hold_write };
    let journal = directories.run.join("journals").join(container.name.as_str());
    let (pump, complaint) = Pump::adopt(pipes, Rc::clone(glass), &directories.logs(&container.name), bounds, &journal)
        .map_err(|error| Error::Logs(container.name.clone(), error))?;
    Ok((Live::new(pidfd, started, exited, pump), complaint.map(|error| error.to_string())))
}

/// A start that failed: the first one for good, a later one counts as an end with 127, as a shell would say it.
fn start_failed(container: &mut Container, code: Code, text: String) {
    container.failure = Some(text);
    let restart = container.order.as_ref().map(|order| order.restart).filter(|_| container.restarts > 0);
    let next = restart.map(|rule| container.backoff.after(&rule, Duration::ZERO, 127));
    container.phase = match next {
        Some(Next::Again(wait)) if code == Code::Failed => {
            container.restarts += 1;
            Phase::Waiting(Instant::now() + wait)
        }
        _ => Phase::Ended(Why::Failed(code)),
    };
}

/// What an end leads to, and how it is told.
fn after(container: &mut Container, exit: Exit, ran: Duration, closing: bool, now: Instant) -> String {
    let mut how = match exit.signal {
        Some(signal) => format!("ended by signal {signal}"),
        None => format!("exited with {}", exit.code),
    };
    if exit.oom_kills > 0 {
        how.push_str(", over its memory limit");
    }
    let (phase, what) = match (&container.phase, &container.order) {
        (Phase::Stopping { then: Then::Start, .. }, Some(_)) if !closing => (Phase::Waiting(now), String::new()),
        (Phase::Stopping { .. }, _) | (_, None) => (Phase::Ended(Why::Stopped), String::new()),
        (_, Some(_)) if closing => (Phase::Ended(Why::Stopped), String::new()),
        (_, Some(order)) => match container.backoff.after(&order.restart, ran, exit.code) {
            Next::Ended => (Phase::Ended(Why::Completed), String::new()),
            Next::GaveUp => (Phase::Ended(Why::GaveUp), "; restarted too often, left".to_owned()),
            Next::Again(wait) => {
                container.restarts += 1;
                (Phase::Waiting(now + wait), format!("; restart in {} s", wait.as_secs_f32()))
            }
        },
    };
    container.phase = phase;
    how + &what
}
