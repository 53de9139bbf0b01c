//! Container output: from the pipes to log files, the console and host logs.

use super::{EventLoop, EventSource};
use crate::events::{ContainerEvent, Event};
use crate::logs::{Bounds, Pipes, Pump, PumpResult, Stream};
use crate::reactor::{Interest, Reactor, Registration};
use crate::state::Phase;
use casemate_error::Error;
use casemate_wire::{Name, Request};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The delay before the next try after a log could not be written, as on a full disk. The container's pipe fills up in the meantime.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Chunks that the pipe of an ended container can hold: 1 MiB (pipe-max-size) in pieces of 4096 bytes, and as many buffers.
const MAX_LAST_CHUNKS: usize = 512;

/// How long the last output of a container that is being stopped may wait for a full disk: it must not prevent the stop of others.
const LAST_OUTPUT_TIMEOUT: Duration = Duration::from_secs(10);

/// The output of one run.
#[derive(Debug)]
pub(super) struct Output {
    /// The pidfd of the run's pid 1.
    pub pidfd: OwnedFd,
    bounds: Bounds,
    log: Log,
    streams: [Option<Registration<EventSource>>; 2],
    /// Which streams are read to their end.
    at_end: [bool; 2],
    /// Failed writes of the log in a row.
    failures: u64,
    /// Waiting for the next try.
    held: bool,
}

/// The log files.
#[derive(Debug)]
enum Log {
    Open(Pump),
    /// They could not be opened.
    Closed(Pipes),
    /// Placeholder while they are opened.
    Opening,
}

impl Output {
    /// Output of a run from the helper's pipe ends; nothing is opened or registered yet.
    pub fn new(pidfd: OwnedFd, pipes: Pipes, bounds: Bounds) -> Self {
        Self {
            pidfd,
            bounds,
            log: Log::Closed(pipes),
            streams: [None, None],
            at_end: [false; 2],
            failures: 0,
            held: false,
        }
    }

    fn pipes(&self) -> Option<&Pipes> {
        match &self.log {
            Log::Open(pump) => Some(pump.pipes()),
            Log::Closed(pipes) => Some(pipes),
            Log::Opening => None,
        }
    }

    /// Registers both streams, except one that is at its end.
    fn watch(&mut self, reactor: &Reactor<EventSource>, name: &Name) -> Result<(), Errno> {
        for (index, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let Some(pipe) = self.pipes().map(|pipes| Rc::clone(pipes.source(stream))) else { continue };
            let at_end = self.at_end.get(index).copied().unwrap_or(true);
            if let Some(registration) = self.streams.get_mut(index)
                && registration.is_none()
                && !at_end
            {
                let source = EventSource::Output(name.clone(), stream);
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

    /// Changes the bounds of the log files.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        if let Log::Open(pump) = &mut self.log {
            pump.set_bounds(bounds);
        }
    }
}

impl EventLoop {
    /// Starts reading the output of a run.
    pub(super) fn add_output(&mut self, name: &Name, output: Output) {
        self.outputs.insert(name.clone(), output);
        self.resume_output(name);
    }

    /// Opens the log if necessary, writes an unfinished chunk, and registers the streams.
    fn resume_output(&mut self, name: &Name) {
        let directories = &self.context.session.directories;
        let Some(output) = self.outputs.get_mut(name) else { return };
        output.held = false;
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

    /// Moves one chunk of a stream; `true` if there was one.
    pub(super) fn pump(&mut self, name: &Name, stream: Stream) -> bool {
        let Some(output) = self.outputs.get_mut(name) else { return false };
        let Log::Open(pump) = &mut output.log else { return false };
        if output.held {
            return false;
        }
        match pump.move_chunk(stream) {
            Ok(PumpResult::Moved) => {
                self.console.output(name, stream, pump.chunk());
                self.forwarding.output(name, stream, pump.chunk());
                self.server.log_has_grown(name);
                let failures = std::mem::take(&mut output.failures);
                if failures > 0 {
                    Event::of(name, ContainerEvent::LogResumed { failures }).log();
                }
                true
            }
            Ok(PumpResult::Idle) => false,
            Ok(PumpResult::Ended) => {
                output.end(stream);
                false
            }
            Err(error) => {
                self.hold_output(name, &error.to_string());
                false
            }
        }
    }

    /// Leaves output in its pipe and tries again later. Logged once, then counted.
    fn hold_output(&mut self, name: &Name, reason: &str) {
        let Some(output) = self.outputs.get_mut(name) else { return };
        output.streams = [None, None];
        output.held = true;
        output.failures += 1;
        if output.failures == 1 {
            Event::of(name, ContainerEvent::LogHeld { reason: reason.to_owned() }).log();
        }
        self.retries.insert((Instant::now() + RETRY_DELAY, name.clone()));
    }

    /// Tries held output again.
    pub(super) fn retry_outputs(&mut self, now: Instant) {
        while self.retries.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, name)) = self.retries.pop_first() else { return };
            self.resume_output(&name);
        }
    }

    /// Reads the last output of ended runs, and removes the runs that are complete.
    pub(super) fn finish_ended(&mut self, now: Instant) -> Result<(), Error> {
        for name in std::mem::take(&mut self.ended) {
            if !self.finish_run(&name, now)? {
                self.ended.insert(name);
            }
        }
        Ok(())
    }

    /// Reads the last output of one ended run; `false` if it is not complete yet.
    fn finish_run(&mut self, name: &Name, now: Instant) -> Result<bool, Error> {
        let Some(container) = self.table.get(name) else { return Ok(true) };
        let Some(run) = &container.observed.run else { return Ok(true) };
        let Phase::Exited(exit) = run.phase else { return Ok(true) };
        let stopping = run.stop.is_some() || self.table.is_stopping();
        // Before the first file is applied it is unknown whether the container shall run again.
        let decided = container.desired.is_some() && !self.adopting.contains(name);
        // Bounded: another process may hold the write end, received over a socket in a shared volume, and write for ever.
        for stream in [Stream::Stdout, Stream::Stderr] {
            (0..MAX_LAST_CHUNKS).all(|_| self.pump(name, stream));
        }
        if self.outputs.get(name).is_some_and(|output| output.held) {
            let waited = Duration::from_nanos(crate::logs::cri::now().saturating_sub(exit.at));
            if !stopping || waited < LAST_OUTPUT_TIMEOUT {
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

    /// Sends a request whose error is ignored: the container may have ended, and its event is on the way.
    pub(super) fn send_best_effort(&mut self, request: &Request) -> Result<(), Error> {
        self.send_request(request, crate::helper::RequestKind::BestEffort)
    }
}
