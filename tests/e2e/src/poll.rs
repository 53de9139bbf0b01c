//! Waiting: never for a time, always for something, with a deadline.

use std::time::{Duration, Instant};

/// Long enough for a busy machine with two cores; only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer; panics with `what` when [`PATIENCE`] is over.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, &mut ask).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
}

/// Asks until there is an answer or the time is over.
pub fn within<T>(time: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + time;
    let mut pause = Duration::from_millis(1);
    loop {
        let begin = Instant::now();
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        // A question that costs much is not asked so often that it holds up what it asks for.
        std::thread::sleep(pause.max(begin.elapsed()));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
