//! When and how soon a server is asked again.

use crate::fault::{Fault, Then};
use crate::stream::LEAST;
use std::time::Duration;
use ureq::http::{HeaderMap, header};

/// Attempts without [`LEAST`] new bytes.
pub const ATTEMPTS: u32 = 5;
/// The first pause and the longest of ours, and the longest that a server may ask for.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);
const MOST_ASKED: Duration = Duration::from_secs(60);

/// Counts attempts at one thing.
#[derive(Debug)]
pub struct Attempts {
    number: u32,
    /// Where the one was that is counted from.
    mark: u64,
}

impl Attempts {
    /// None yet; it begins at this byte.
    pub const fn new(at: u64) -> Self {
        Self { number: 0, mark: at }
    }

    /// Another one has failed, with the bytes up to here passed on. Gives its number: whoever gave enough is asked afresh, but a
    /// byte for each attempt would be attempts without end.
    pub const fn failed(&mut self, at: u64) -> u32 {
        if at.saturating_sub(self.mark) >= LEAST {
            *self = Self { number: 1, mark: at };
        } else {
            self.number += 1;
        }
        self.number
    }
}

/// Adds what a status and the headers beside it say about asking again (RFC 9110, section 10.2.3).
pub fn judge(fault: Fault, headers: &HeaderMap) -> Fault {
    match fault.failure.status {
        Some(408 | 429 | 500 | 502..=504) => {
            let asked = headers.get(header::RETRY_AFTER).and_then(|value| seconds(value.as_bytes()));
            fault.again(asked)
        }
        _ => fault,
    }
}

/// A number of seconds; the other form, a date, would need the server's clock to be ours.
fn seconds(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|c| c.is_ascii_digit());
    let number = digits.then(|| text.parse().ok())??;
    Some(Duration::from_secs(number).min(MOST_ASKED))
}

/// How long to wait before attempt `number` (1 is the first repetition); `chance` is a random number. `None`: not again.
pub fn pause(then: Then, number: u32, chance: u32) -> Option<Duration> {
    let Then::Again(asked) = then else { return None };
    if number >= ATTEMPTS {
        return None;
    }
    let ours = FIRST.saturating_mul(1 << number.saturating_sub(1).min(8)).min(LONGEST);
    // From a half to three halves of it, so that many clients do not come back together.
    let jittered = ours / 2 + ours.mul_f64(f64::from(chance) / f64::from(u32::MAX));
    Some(asked.map_or(jittered, |asked| asked.max(jittered)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_fetch_wire::Step;

    #[test]
    fn pauses_grow_and_end() {
        let again = Then::Again(None);
        for chance in [0, u32::MAX / 2, u32::MAX] {
            for number in 1..ATTEMPTS {
                let ours = FIRST * (1 << (number - 1));
                let pause = pause(again, number, chance).unwrap();
                assert!(pause >= ours / 2 && pause <= ours * 3 / 2, "{number} {pause:?}");
            }
        }
        assert_eq!(pause(again, ATTEMPTS, 0), None);
        assert_eq!(pause(Then::Elsewhere, 1, 0), None);
        assert_eq!(pause(Then::Stop, 1, 0), None);
        assert_eq!(pause(Then::Again(Some(Duration::from_secs(7))), 1, 0), Some(Duration::from_secs(7)));
    }

    #[test]
    fn threat_17_a_byte_an_attempt_does_not_go_on_for_ever() {
        let mut attempts = Attempts::new(7);
        let numbers: Vec<_> = (8..8 + u64::from(ATTEMPTS)).map(|at| attempts.failed(at)).collect();
        assert_eq!(numbers, (1..=ATTEMPTS).collect::<Vec<_>>());
        let mut attempts = Attempts::new(7);
        let at = |count| 7 + count * LEAST / 2;
        let numbers: Vec<_> = (0..6).map(|count| attempts.failed(at(count))).collect();
        assert_eq!(numbers, [1, 2, 1, 2, 1, 2], "it counts together");
    }

    #[test]
    fn a_server_may_ask_for_a_minute_at_the_most() {
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
        let then = |status| judge(Fault::new(Step::Request, "").status(status), &headers).then;
        assert_eq!(then(429), Then::Again(Some(Duration::from_secs(3))));
        assert_eq!(then(503), Then::Again(Some(Duration::from_secs(3))));
        assert_eq!(then(404), Then::Elsewhere);
        assert_eq!(then(501), Then::Elsewhere);
    }
}
