//! Moments to kill at, spread over a work whose length is the machine's: it is learned while killing.

use crate::{Instance, Output, Up, host, poll};
use rustix::process::Signal;
use std::time::Duration;

/// A work that is killed again and again.
#[derive(Debug)]
pub struct Moments {
    wanted: u32,
    hit: u32,
    rounds: u32,
    span: Duration,
}

/// A moment to kill at.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// How many there were before it.
    pub round: u32,
    pause: Duration,
}

impl Moments {
    /// Until it was killed so often before its end; at first it is taken to last so long.
    pub fn new(wanted: u32, span: Duration) -> Self {
        Self { wanted, hit: 0, rounds: 0, span }
    }

    /// The next one; none after enough hits. Panics if the work ends first too often.
    pub fn take(&mut self) -> Option<Moment> {
        if self.hit == self.wanted {
            return None;
        }
        let round = self.rounds;
        assert!(round < 10 * self.wanted, "only {} of {round} rounds hit the work", self.hit);
        self.rounds += 1;
        // Early, late and between in turn.
        Some(Moment { round, pause: self.span * (1 + round * 5 % 8) / 8 })
    }

    /// Waits for the moment and kills: the work, its helper, or all programs of the instance by turns. Gives what the work has written,
    /// when all of them have ended.
    pub fn kill(&mut self, moment: Moment, casemate: &Instance, mut work: Up) -> Output {
        std::thread::sleep(moment.pause);
        let pids = |processes: Vec<host::Process>| processes.iter().map(|process| process.pid).collect();
        let victims: Vec<i32> = match moment.round % 3 {
            0 => vec![work.pid()],
            1 => pids(casemate.helpers()),
            _ => pids(casemate.processes()),
        };
        let at_work = !work.has_ended();
        for victim in victims {
            host::signal(victim, Signal::KILL);
        }
        let output = work.wait(poll::PATIENCE);
        casemate.end();
        self.hit += u32::from(at_work);
        self.span = if at_work { self.span * 9 / 8 } else { self.span * 3 / 4 };
        output
    }
}
