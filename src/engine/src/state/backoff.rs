//! Restart policy: whether and when a container that has ended is started again. Pure: time is an argument.

use casemate_spec::{Restart, RestartPolicy};
use std::time::Duration;

/// The decision after a run that ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartDecision {
    /// The policy does not restart it.
    NoRestart,
    /// It was restarted `max_retries` times in a row.
    GiveUp,
    /// Restart it after this delay.
    RestartAfter(Duration),
}

/// The number of restarts in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    in_a_row: u32,
}

impl Backoff {
    /// Decides after a run that lasted `ran` and ended with this exit code.
    pub fn after(&mut self, rule: &Restart, ran: Duration, code: u8) -> RestartDecision {
        let restart = match rule.policy {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure => code != 0,
            RestartPolicy::Always => true,
        };
        if !restart {
            return RestartDecision::NoRestart;
        }
        if ran >= rule.window {
            self.in_a_row = 0;
        }
        if self.in_a_row >= rule.max_retries {
            return RestartDecision::GiveUp;
        }
        let factor = 1_u32.checked_shl(self.in_a_row).unwrap_or(u32::MAX);
        self.in_a_row += 1;
        RestartDecision::RestartAfter(rule.delay.saturating_mul(factor).min(rule.max_delay))
    }

    /// A verb started or stopped it: restarts are counted from 0 again.
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
    fn threat_28_crash_loop_slows_down_and_ends() {
        let mut backoff = Backoff::default();
        let mut waits = Vec::new();
        while let RestartDecision::RestartAfter(wait) = backoff.after(&rule(RestartPolicy::Always), Duration::ZERO, 0) {
            waits.push(wait.as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 6, 6]);
        let long = Duration::from_secs(60);
        assert_eq!(
            backoff.after(&rule(RestartPolicy::Always), long, 1),
            RestartDecision::RestartAfter(Duration::from_secs(1)),
            "a long run resets the count"
        );
    }

    #[test]
    fn each_policy_decides_by_the_exit_code() {
        let after = |policy, code| Backoff::default().after(&rule(policy), Duration::ZERO, code);
        assert_eq!(after(RestartPolicy::No, 1), RestartDecision::NoRestart);
        assert_eq!(after(RestartPolicy::OnFailure, 0), RestartDecision::NoRestart);
        assert!(matches!(after(RestartPolicy::OnFailure, 137), RestartDecision::RestartAfter(_)));
        assert!(matches!(after(RestartPolicy::Always, 0), RestartDecision::RestartAfter(_)));
        let many = Restart { max_retries: u32::MAX, ..rule(RestartPolicy::Always) };
        let mut backoff = Backoff { in_a_row: 40 };
        assert_eq!(backoff.after(&many, Duration::ZERO, 0), RestartDecision::RestartAfter(Duration::from_secs(6)));
    }
}
