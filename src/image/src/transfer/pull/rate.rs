//! A limit of bytes a second, shared by all downloads: a download that exceeds it waits, and TCP slows its server down.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The longest sleep, after which the end of the pull is checked.
const MAX_SLEEP: Duration = Duration::from_millis(500);

/// The limit.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: Option<u64>,
    /// When all bytes so far would have been received at exactly the limit.
    due: Mutex<Instant>,
}

impl Rate {
    /// `None`: no limit.
    pub(super) fn new(per_second: Option<u64>) -> Self {
        Self { per_second, due: Mutex::new(Instant::now()) }
    }

    /// Counts received bytes and waits until the limit allows them, or until `finished`.
    pub(super) fn wait_for(&self, bytes: u64, finished: impl Fn() -> bool) {
        let Some(until) = self.add(bytes, Instant::now()) else { return };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || finished() {
                return;
            }
            std::thread::sleep(left.min(MAX_SLEEP));
        }
    }

    fn add(&self, bytes: u64, now: Instant) -> Option<Instant> {
        let per_second = self.per_second?.max(1);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut due = self.due.lock().ok()?;
        // Time without downloads is not credited.
        *due = (*due).max(now) + cost;
        Some(*due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_share_the_limit() {
        let rate = Rate::new(Some(1000));
        let now = Instant::now();
        assert_eq!(rate.add(500, now), Some(now + Duration::from_millis(500)));
        assert_eq!(rate.add(500, now), Some(now + Duration::from_secs(1)));
        let later = now + Duration::from_secs(9);
        assert_eq!(rate.add(1000, later), Some(later + Duration::from_secs(1)), "idle time is not credited");
        assert_eq!(Rate::new(None).add(u64::MAX, now), None);
    }

    #[test]
    fn finished_pull_does_not_wait() {
        let began = Instant::now();
        let asked = std::cell::Cell::new(0);
        Rate::new(Some(1)).wait_for(1_000_000, || asked.replace(asked.get() + 1) > 0);
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
