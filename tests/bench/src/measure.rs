//! Interleaved measuring: every contender once a round, so that a slow moment of the machine meets all of them. The order
//! changes from round to round, and a pause lies between them: what the kernel still does for one, such as taking a network
//! namespace apart, is not always paid by the same other.

use crate::failure::Result;
use std::time::Duration;

/// What one contender needed in each round.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// From measured values of any unit.
    pub fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The middle value; the mean of the two middle ones of an even number.
    pub fn median(&self) -> f64 {
        let at = |index: usize| self.0.get(index).copied().unwrap_or(f64::NAN);
        let half = self.0.len() / 2;
        if self.0.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.wrapping_sub(1)), at(half)) }
    }

    /// The smallest value.
    pub fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The largest value.
    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }
}

/// Something that can be timed again and again.
pub trait Contender {
    /// Runs once and says how long the counted part took.
    fn run(&mut self) -> Result<Duration>;
}

impl<F: FnMut() -> Result<Duration>> Contender for F {
    fn run(&mut self) -> Result<Duration> {
        self()
    }
}

const PAUSE: Duration = Duration::from_millis(20);

/// Runs all contenders `rounds` times in turn, after one round that does not count, and returns milliseconds for each,
/// in their order. A contender that fails once ends the measurement: a figure from half of the rounds is no figure.
pub fn interleaved(contenders: &mut [Box<dyn Contender + '_>], rounds: usize) -> Result<Vec<Samples>> {
    let mut values = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..=rounds {
        for index in order(contenders.len(), round) {
            let (Some(contender), Some(values)) = (contenders.get_mut(index), values.get_mut(index)) else {
                continue;
            };
            std::thread::sleep(PAUSE);
            let time = contender.run()?;
            if round > 0 {
                values.push(time.as_secs_f64() * 1e3);
            }
        }
    }
    Ok(values.into_iter().map(Samples::new).collect())
}

/// All of `0..count`, in steps of a length that has no divisor in common with it; another one each round.
fn order(count: usize, round: usize) -> impl Iterator<Item = usize> {
    let divisor = |mut a: usize, mut b: usize| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let steps: Vec<usize> = (1..=count).filter(|step| divisor(*step, count) == 1).collect();
    let step = steps.get(round % steps.len().max(1)).copied().unwrap_or(1);
    (0..count).map(move |place| place * step % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_even_and_none() {
        assert_eq!(Samples::new(vec![3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Samples::new(vec![4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert!(Samples::new(vec![]).median().is_nan());
    }

    #[test]
    fn every_round_has_everybody_once_and_neighbours_change() {
        for count in 0..8 {
            for round in 0..10 {
                let mut round: Vec<usize> = order(count, round).collect();
                round.sort_unstable();
                assert_eq!(round, (0..count).collect::<Vec<_>>());
            }
        }
        assert_ne!(order(5, 1).collect::<Vec<_>>(), order(5, 2).collect::<Vec<_>>());
    }

    #[test]
    fn contenders_take_turns_and_the_first_round_does_not_count() {
        let order = std::cell::RefCell::new(String::new());
        let contender = |name: char, ms: u64| {
            let order = &order;
            Box::new(move || {
                order.borrow_mut().push(name);
                Ok(Duration::from_millis(ms))
            }) as Box<dyn Contender + '_>
        };
        let samples = interleaved(&mut [contender('a', 1), contender('b', 2)], 2).unwrap();
        assert_eq!(*order.borrow(), "ababab");
        assert_eq!(samples, [Samples::new(vec![1.0, 1.0]), Samples::new(vec![2.0, 2.0])]);
    }
}
