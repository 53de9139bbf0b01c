//! A bound on bytes a second, shared by all downloads: whoever has too many waits, and the server waits with them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The longest wait at once, so that an end is seen soon.
const NAP: Duration = Duration::from_millis(500);

/// The bound.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: Option<u64>,
    /// When all that was taken up to now would have come at the bound.
    paid: Mutex<Instant>,
}

impl Rate {
    /// None: no bound.
    pub(super) fn new(per_second: Option<u64>) -> Self {
        Self { per_second, paid: Mutex::new(Instant::now()) }
    }

    /// Takes so many bytes; returns when they may have come, or when it is over.
    pub(super) fn take(&self, bytes: u64, over: impl Fn() -> bool) {
        let Some(until) = self.due(bytes, Instant::now()) else { return };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || over() {
                return;
            }
            std::thread::sleep(left.min(NAP));
        }
    }

    fn due(&self, bytes: u64, now: Instant) -> Option<Instant> {
        let per_second = self.per_second?.max(1);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid = self.paid.lock().ok()?;
        // What was not used is not saved up.
        *paid = (*paid).max(now) + cost;
        Some(*paid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_keep_the_bound() {
        let rate = Rate::new(Some(1000));
        let now = Instant::now();
        assert_eq!(rate.due(500, now), Some(now + Duration::from_millis(500)));
        assert_eq!(rate.due(500, now), Some(now + Duration::from_secs(1)));
        let later = now + Duration::from_secs(9);
        assert_eq!(rate.due(1000, later), Some(later + Duration::from_secs(1)), "nothing is saved up");
        assert_eq!(Rate::new(None).due(u64::MAX, now), None);
    }

    #[test]
    fn what_is_over_waits_for_nothing() {
        let began = Instant::now();
        let asked = std::cell::Cell::new(0);
        Rate::new(Some(1)).take(1_000_000, || asked.replace(asked.get() + 1) > 0);
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
