//! The output of containers: from their pipes to their logs, to the console, and to the host's logs.

use super::{EventLoop, Source};
use crate::events::{ContainerEvent, Event};
use crate::logs::{Bounds, Pipes, Pump, Stream, Turn};
use crate::reactor::{Interest, Reactor, Registration};
use crate::state::Phase;
use casemate_error::Error;
use casemate_wire::{Name, Request};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long output rests after its log could not be written, on a full disk above all. The container's pipe fills up meanwhile.
const REST: Duration = Duration::from_secs(1);

/// Chunks that an ended container's pipe can hold: 1 MiB (pipe-max-size) in pieces of 4096 bytes, and as many buffers.
const LAST_CHUNKS: usize = 512;

/// How long the last output of a container that was asked to end may wait for a log that cannot be written: a container that fills
/// the disk must not keep itself and others from being stopped.
const LAST_OUTPUT: Duration = Duration::from_secs(10);

/// The output of one run.
#[derive(Debug)]
pub(super) struct Output {
    /// Pid 1 of the run.
    pub pidfd: OwnedFd,
    bounds: Bounds,
    log: Log,
    streams: [Option<Registration<Source>>; 2],
    /// Both streams are read to their end.
    at_end: [bool; 2],
    /// How often the log could not be written, in a row.
    failures: u64,
    /// The next try is later.
    resting: bool,
}

/// The way to the log files.
#[derive(Debug)]
enum Log {
    Open(Pump),
    /// They cannot be opened now.
    Closed(Pipes),
    /// For the moment of opening.
    Opening,
}

impl Output {
    /// Of a run that the helper gives the ends of; not opened and not waited for yet.
    pub fn new(pidfd: OwnedFd, pipes: Pipes, bounds: Bounds) -> Self {
        Self {
            pidfd,
            bounds,
            log: Log::Closed(pipes),
            streams: [None, None],
            at_end: [false; 2],
            failures: 0,
            resting: false,
        }
    }

    fn pipes(&self) -> Option<&Pipes> {
        match &self.log {
            Log::Open(pump) => Some(pump.pipes()),
            Log::Closed(pipes) => Some(pipes),
            Log::Opening => None,
        }
    }

    /// Waits for output of both streams, but for one that is at its end.
    fn watch(&mut self, reactor: &Reactor<Source>, name: &Name) -> Result<(), Errno> {
        for (index, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let Some(pipe) = self.pipes().map(|pipes| Rc::clone(pipes.source(stream))) else { continue };
            let at_end = self.at_end.get(index).copied().unwrap_or(true);
            if let Some(registration) = self.streams.get_mut(index)
                && registration.is_none()
                && !at_end
            {
                let source = Source::Output(name.clone(), stream);
                *registration = Some(reactor.register(&pipe, Interest::Read, source)?);
            }
        }
        Ok(())
    }

    fn end(&mut self, stream: Stream) {
        let index = usize::from(stream == Stream::Stderr);
        if let (Some(at_end), Some(registration)) = (self.at_end.get_mut(index), self.streams.get_mut(index)) {
            *at_end = true;
            *registration = None;
        }
    }

    /// Keeps as much as this from now on.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        if let Log::Open(pump) = &mut self.log {
            pump.set_bounds(bounds);
        }
    }
}

impl EventLoop {
    /// Begins with the output of a run.
    pub(super) fn add_output(&mut self, name: &Name, output: Output) {
        self.outputs.insert(name.clone(), output);
        self.resume_output(name);
    }

    /// Opens the log where it is not open, finishes what was left half done, and waits for more.
    fn resume_output(&mut self, name: &Name) {
        let directories = &self.context.session.directories;
        let Some(output) = self.outputs.get_mut(name) else { return };
        output.resting = false;
        if matches!(output.log, Log::Closed(_))
            && let Log::Closed(pipes) = std::mem::replace(&mut output.log, Log::Opening)
        {
            let journal = directories.run.join("journals").join(name.as_str());
            let logs = directories.logs(name);
            let failure = match Pump::adopt(pipes, Rc::clone(&self.scratch), &logs, output.bounds, &journal) {
                Ok((pump, unfinished)) => {
                    output.log = Log::Open(pump);
                    unfinished
                }
                Err((pipes, error)) => {
                    output.log = Log::Closed(pipes);
                    Some(error)
                }
            };
            if let Some(error) = failure {
                return self.hold_output(name, &error.to_string());
            }
        }
        if let Err(errno) = output.watch(&self.reactor, name) {
            self.hold_output(name, &format!("wait for its output: {errno}"));
        }
    }

    /// Moves one chunk of a stream; `true` when there was one.
    pub(super) fn pump(&mut self, name: &Name, stream: Stream) -> bool {
        let Some(output) = self.outputs.get_mut(name) else { return false };
        let Log::Open(pump) = &mut output.log else { return false };
        if output.resting {
            return false;
        }
        match pump.turn(stream) {
            Ok(Turn::Moved) => {
                self.console.output(name, stream, pump.chunk());
                self.forwarding.output(name, stream, pump.chunk());
                self.server.log_has_grown(name);
                let failures = std::mem::take(&mut output.failures);
                if failures > 0 {
                    Event::of(name, ContainerEvent::LogResumed { failures }).log();
                }
                true
            }
            Ok(Turn::Idle) => false,
            Ok(Turn::Ended) => {
                output.end(stream);
                false
            }
            Err(error) => {
                self.hold_output(name, &error.to_string());
                false
            }
        }
    }

    /// Lets output rest in its pipe, and tries again later. It is said once and then counted.
    fn hold_output(&mut self, name: &Name, reason: &str) {
        let Some(output) = self.outputs.get_mut(name) else { return };
        output.streams = [None, None];
        output.resting = true;
        output.failures += 1;
        if output.failures == 1 {
            Event::of(name, ContainerEvent::LogHeld { reason: reason.to_owned() }).log();
        }
        self.retries.insert((Instant::now() + REST, name.clone()));
    }

    /// Goes on with output that has rested.
    pub(super) fn retry_outputs(&mut self, now: Instant) {
        while self.retries.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, name)) = self.retries.pop_first() else { return };
            self.resume_output(&name);
        }
    }

    /// Reads the last output of ended runs, and lets the state know of those that are over.
    pub(super) fn finish_ended(&mut self, now: Instant) -> Result<(), Error> {
        for name in std::mem::take(&mut self.ended) {
            if !self.finish_run(&name, now)? {
                self.ended.insert(name);
            }
        }
        Ok(())
    }

    /// `false`: not yet.
    fn finish_run(&mut self, name: &Name, now: Instant) -> Result<bool, Error> {
        let Some(container) = self.table.get(name) else { return Ok(true) };
        let Some(run) = &container.observed.run else { return Ok(true) };
        let Phase::Exited(exit) = run.phase else { return Ok(true) };
        let asked = run.stop.is_some() || self.table.is_closing();
        // Before the first file is applied nothing says whether it is to run again.
        let decided = container.desired.is_some() && !self.adopting.contains(name);
        // Whoever was handed the write end through a socket in a shared volume does not keep the run from its end: the chunks are counted.
        for stream in [Stream::Stdout, Stream::Stderr] {
            (0..LAST_CHUNKS).all(|_| self.pump(name, stream));
        }
        if self.outputs.get(name).is_some_and(|output| output.resting) {
            let waited = Duration::from_nanos(crate::logs::cri::now().saturating_sub(exit.at));
            if !asked || waited < LAST_OUTPUT {
                return Ok(false);
            }
            Event::of(name, ContainerEvent::LogLost).log();
        }
        if !decided {
            return Ok(false);
        }
        self.outputs.remove(name);
        self.console.end(name);
        self.forwarding.end(name);
        if let Some((exit, after)) = self.table.drained(name, now) {
            Event::of(name, ContainerEvent::Exited { exit, after }).log();
        }
        Ok(true)
    }

    /// A request that may come too late: the container has ended, and its event is on the way.
    pub(super) fn notice(&mut self, request: &Request) -> Result<(), Error> {
        self.ask(request, crate::helper::Question::Notice)
    }
}
