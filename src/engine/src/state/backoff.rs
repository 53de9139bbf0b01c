//! When a container that has ended is started again. Pure: the clock is an argument.

use casemate_spec::{Restart, RestartPolicy};
use std::time::Duration;

/// What follows an end that nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It has ended for good, as its policy wants.
    Ended,
    /// It has been restarted too often: it has failed for good.
    GaveUp,
    /// Start it again after this.
    Again(Duration),
}

/// The count of restarts in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    in_a_row: u32,
}

impl Backoff {
    /// Decides after a run of this length that ended with this code.
    pub fn after(&mut self, rule: &Restart, ran: Duration, code: u8) -> Next {
        let again = match rule.policy {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure => code != 0,
            RestartPolicy::Always => true,
        };
        if !again {
            return Next::Ended;
        }
        if ran >= rule.window {
            self.in_a_row = 0;
        }
        if self.in_a_row >= rule.max_retries {
            return Next::GaveUp;
        }
        let factor = 1_u32.checked_shl(self.in_a_row).unwrap_or(u32::MAX);
        self.in_a_row += 1;
        Next::Again(rule.delay.saturating_mul(factor).min(rule.max_delay))
    }

    /// Somebody started it by hand: it counts afresh.
    pub fn reset(&mut self) {
        self.in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(policy: RestartPolicy) -> Restart {
        Restart {
            policy,
            max_retries: 5,
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(6),
            window: Duration::from_secs(60),
        }
    }

    #[test]
    fn threat_28_a_crash_loop_slows_down_and_ends() {
        let mut backoff = Backoff::default();
        let mut waits = Vec::new();
        while let Next::Again(wait) = backoff.after(&rule(RestartPolicy::Always), Duration::ZERO, 0) {
            waits.push(wait.as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 6, 6]);
        let long = Duration::from_secs(60);
        assert_eq!(
            backoff.after(&rule(RestartPolicy::Always), long, 1),
            Next::Again(Duration::from_secs(1)),
            "a long run counts afresh"
        );
    }

    #[test]
    fn policies() {
        let after = |policy, code| Backoff::default().after(&rule(policy), Duration::ZERO, code);
        assert_eq!(after(RestartPolicy::No, 1), Next::Ended);
        assert_eq!(after(RestartPolicy::OnFailure, 0), Next::Ended);
        assert!(matches!(after(RestartPolicy::OnFailure, 137), Next::Again(_)));
        assert!(matches!(after(RestartPolicy::Always, 0), Next::Again(_)));
        let many = Restart { max_retries: u32::MAX, ..rule(RestartPolicy::Always) };
        let mut backoff = Backoff { in_a_row: 40 };
        assert_eq!(backoff.after(&many, Duration::ZERO, 0), Next::Again(Duration::from_secs(6)));
    }
}
