//! Changes of the observed state: the helper's replies and events, and the end of output.

use super::Table;
use crate::reconcile::{self, AfterExit};
use crate::state::{Desired, DesiredState, End, Phase, RestartDecision, Run};
use casemate_error::Code;
use casemate_wire::{Exit, Name};
use std::time::{Duration, Instant};

impl Table {
    /// The helper lists a container of an earlier manager.
    pub fn adopted(&mut self, name: &Name, run: Run) {
        self.insert(name);
        let state = if self.stopping { DesiredState::StoppedInOrder } else { DesiredState::Stopped };
        let stopping = self.stopping;
        self.change(name, |container| {
            container.observed.record_kept = matches!(run.phase, Phase::Exited(_));
            container.observed.run = Some(run);
            if stopping && container.desired.is_none() {
                container.desired = Some(Desired { config: None, state, generation: 1 });
            }
        });
    }

    /// The layers of a container are proven. Returns whether to start it: the start may have been cancelled.
    pub fn proven(&mut self, name: &Name) -> bool {
        let proven = self.change(name, |container| match &mut container.observed.run {
            Some(run) if run.phase == Phase::Proving => {
                run.phase = Phase::Starting;
                true
            }
            _ => false,
        });
        proven == Some(true)
    }

    /// The payload was executed.
    pub fn started(&mut self, name: &Name, at: u64) {
        self.change(name, |container| {
            container.observed.failure = None;
            if let Some(run) = &mut container.observed.run {
                run.phase = Phase::Running;
                run.started = at;
            }
        });
    }

    /// The start failed. The first start of a generation fails for good; a later one counts as a run that exited with 127, as a shell
    /// reports it. Returns the delay before the next try.
    pub fn start_failed(&mut self, name: &Name, code: Code, reason: String, now: Instant) -> Option<Duration> {
        self.change(name, |container| {
            let generation = container.observed.run.take().map_or(0, |run| run.generation);
            container.observed.failure = Some(reason);
            let config = container.desired.as_ref().and_then(|desired| desired.config.as_ref());
            let rule = config.map(|config| config.restart).filter(|_| container.observed.restarts > 0);
            let next = rule.map(|rule| container.observed.backoff.after(&rule, Duration::ZERO, 127));
            match next {
                Some(RestartDecision::RestartAfter(wait)) if code == Code::Failed => {
                    container.observed.restarts += 1;
                    container.observed.next_start = Some(now + wait);
                    Some(wait)
                }
                _ => {
                    container.observed.end = Some((generation, End::StartFailed(code)));
                    None
                }
            }
        })?
    }

    /// Pid 1 has ended.
    pub fn exited(&mut self, name: &Name, exit: Exit) {
        self.change(name, |container| {
            if let Some(run) = &mut container.observed.run {
                run.phase = Phase::Exited(exit);
            }
        });
    }

    /// The output of an ended run is read to its end. Returns its exit status and what happens next.
    pub fn drained(&mut self, name: &Name, now: Instant) -> Option<(Exit, AfterExit)> {
        self.change(name, |container| {
            let desired = container.desired.as_ref()?;
            let run = container.observed.run.as_ref()?.clone();
            let Phase::Exited(exit) = run.phase else { return None };
            let ran = Duration::from_nanos(exit.at.saturating_sub(run.started));
            let after = reconcile::after_exit(desired, &mut container.observed, &run, exit, ran);
            let generation = desired.generation;
            let observed = &mut container.observed;
            observed.run = None;
            observed.record_kept = true;
            observed.exit = Some(exit);
            match after {
                AfterExit::End(end) => observed.end = Some((generation, end)),
                AfterExit::Replace => observed.next_start = None,
                AfterExit::Restart(wait) => {
                    observed.restarts += 1;
                    observed.next_start = Some(now + wait);
                }
            }
            Some((exit, after))
        })?
    }
}
