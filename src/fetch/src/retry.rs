//! Whether and when a server is tried again.

use crate::error::{Error, Retry};
use crate::stream::MIN_BYTES;
use std::time::Duration;
use ureq::http::{HeaderMap, header};

/// Maximum number of attempts in a row with less than [`MIN_BYTES`] new bytes.
pub const ATTEMPTS: u32 = 5;
/// The first delay, the longest delay, and the longest delay that a server can ask for.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);
const MOST_ASKED: Duration = Duration::from_secs(60);

/// Counts the attempts of one request.
#[derive(Debug)]
pub struct Attempts {
    number: u32,
    /// The offset of the first counted attempt.
    mark: u64,
}

impl Attempts {
    /// No attempts; the request starts at this offset.
    pub const fn new(at: u64) -> Self {
        Self { number: 0, mark: at }
    }

    /// Counts a failed attempt that got up to this offset, and returns its number. Attempts with [`MIN_BYTES`] of progress count from 1
    /// again; less progress does not count, since one byte per attempt would mean attempts without end.
    pub const fn failed(&mut self, at: u64) -> u32 {
        if at.saturating_sub(self.mark) >= MIN_BYTES {
            *self = Self { number: 1, mark: at };
        } else {
            self.number += 1;
        }
        self.number
    }
}

/// Decides from the HTTP status and `Retry-After` whether to retry (RFC 9110, section 10.2.3).
pub fn classify(error: Error, headers: &HeaderMap) -> Error {
    match error.failure.status {
        Some(408 | 429 | 500 | 502..=504) => {
            let asked = headers.get(header::RETRY_AFTER).and_then(|value| seconds(value.as_bytes()));
            error.retryable(asked)
        }
        _ => error,
    }
}

/// A number of seconds. The other form, a date, depends on the server's clock.
fn seconds(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|c| c.is_ascii_digit());
    let number = digits.then(|| text.parse().ok())??;
    Some(Duration::from_secs(number).min(MOST_ASKED))
}

/// The delay before retry `number`, from 1; `chance` is a random number. `None`: no retry.
pub fn pause(retry: Retry, number: u32, chance: u32) -> Option<Duration> {
    let Retry::SameServer(asked) = retry else { return None };
    if number >= ATTEMPTS {
        return None;
    }
    let ours = FIRST.saturating_mul(1 << number.saturating_sub(1).min(8)).min(LONGEST);
    // From 0.5 to 1.5 times the delay, so that many clients do not retry at the same time.
    let jittered = ours / 2 + ours.mul_f64(f64::from(chance) / f64::from(u32::MAX));
    Some(asked.map_or(jittered, |asked| asked.max(jittered)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_fetch_wire::Step;

    #[test]
    fn pauses_grow_and_end() {
        let retry = Retry::SameServer(None);
        for chance in [0, u32::MAX / 2, u32::MAX] {
            for number in 1..ATTEMPTS {
                let ours = FIRST * (1 << (number - 1));
                let pause = pause(retry, number, chance).unwrap();
                assert!(pause >= ours / 2 && pause <= ours * 3 / 2, "{number} {pause:?}");
            }
        }
        assert_eq!(pause(retry, ATTEMPTS, 0), None);
        assert_eq!(pause(Retry::NextServer, 1, 0), None);
        assert_eq!(pause(Retry::Stop, 1, 0), None);
        assert_eq!(pause(Retry::SameServer(Some(Duration::from_secs(7))), 1, 0), Some(Duration::from_secs(7)));
    }

    #[test]
    fn threat_17_one_byte_per_attempt_ends() {
        let mut attempts = Attempts::new(7);
        let numbers: Vec<_> = (8..8 + u64::from(ATTEMPTS)).map(|at| attempts.failed(at)).collect();
        assert_eq!(numbers, (1..=ATTEMPTS).collect::<Vec<_>>());
        let mut attempts = Attempts::new(7);
        let at = |count| 7 + count * MIN_BYTES / 2;
        let numbers: Vec<_> = (0..6).map(|count| attempts.failed(at(count))).collect();
        assert_eq!(numbers, [1, 2, 1, 2, 1, 2], "it counts together");
    }

    #[test]
    fn retry_after_is_limited_to_a_minute() {
        for (value, expected) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("999999", Some(60)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("99999999999999999999", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ] {
            assert_eq!(seconds(value.as_bytes()), expected.map(Duration::from_secs), "{value}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "3".parse().unwrap());
        let then = |status| classify(Error::new(Step::Request, "").status(status), &headers).retry;
        assert_eq!(then(429), Retry::SameServer(Some(Duration::from_secs(3))));
        assert_eq!(then(503), Retry::SameServer(Some(Duration::from_secs(3))));
        assert_eq!(then(404), Retry::NextServer);
        assert_eq!(then(501), Retry::NextServer);
    }
}
