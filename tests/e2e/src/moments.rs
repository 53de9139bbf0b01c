//! Moments to kill at, spread over a work whose length is the machine's: it is learned while killing.

use std::time::Duration;

/// A work that is killed again and again.
#[derive(Debug)]
pub struct Moments {
    wanted: u32,
    hit: u32,
    rounds: u32,
    span: Duration,
}

impl Moments {
    /// Until it was killed so often before its end; at first it is taken to last so long.
    pub fn new(wanted: u32, span: Duration) -> Self {
        Self { wanted, hit: 0, rounds: 0, span }
    }

    /// The number of the round, and how long to wait in it; none after enough hits. Panics if the work ends first too often.
    pub fn take(&mut self) -> Option<(u32, Duration)> {
        if self.hit == self.wanted {
            return None;
        }
        let round = self.rounds;
        assert!(round < 10 * self.wanted, "only {} of {round} rounds hit the work", self.hit);
        self.rounds += 1;
        // Early, late and between in turn.
        Some((round, self.span * (1 + round * 5 % 8) / 8))
    }

    /// Whether the work was still going on.
    pub fn was(&mut self, at_work: bool) {
        self.hit += u32::from(at_work);
        self.span = if at_work { self.span * 9 / 8 } else { self.span * 3 / 4 };
    }
}
