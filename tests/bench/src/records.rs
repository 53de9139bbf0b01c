//! The records of a log as casemate and conmon write it: `TIME STREAM TAG TEXT`, a time with nine digits of a second first.

use crate::failure::{Failure, Result, Step};
use std::fs;
use std::path::Path;

const DAY: f64 = 86_400e9;

/// One whole line of output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record<'a> {
    /// When it was taken from the pipe, in nanoseconds since midnight.
    pub time: f64,
    /// The line, or its end where it was taken in parts.
    pub text: &'a str,
}

/// All whole lines of a log.
pub fn parse(log: &str) -> Vec<Record<'_>> {
    log.lines().filter_map(record).collect()
}

fn record(line: &str) -> Option<Record<'_>> {
    let mut fields = line.splitn(4, ' ');
    let time = fields.next()?;
    let _stream = fields.next()?;
    let tag = fields.next()?;
    let text = fields.next()?;
    let mut clock = time.get(11..29)?.split(':').map(str::parse::<f64>);
    let hours = clock.next()?.ok()?;
    let minutes = clock.next()?.ok()?;
    let seconds = clock.next()?.ok()?;
    (tag == "F").then_some(Record { time: ((hours * 60.0 + minutes) * 60.0 + seconds) * 1e9, text })
}

/// Nanoseconds from one time of the day to a later one, which may be of the next day.
pub fn between(earlier: f64, later: f64) -> f64 {
    (later - earlier).rem_euclid(DAY)
}

/// The text of all files of a directory, in the order of the numbers that they are named by.
pub fn read(directory: &Path) -> Result<String> {
    let failed = |path: &Path| format!("read {}", path.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).step(failed(directory))?.flatten() {
        let number = entry.path().file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        files.push((number, entry.path()));
    }
    files.sort();
    let texts: Result<Vec<String>> =
        files.iter().map(|(_, path)| fs::read_to_string(path).step(failed(path))).collect();
    let text = texts?.concat();
    if text.is_empty() { Err(Failure::new(failed(directory), "it has no log")) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_casemate_and_conmon_have_one_reading() {
        let log = "2026-01-31T00:00:01.500000000Z stdout F one\n\
                   2026-01-31T01:00:00.000000001+00:00 stdout P tw\n\
                   2026-01-31T01:00:00.500000000+00:00 stdout F o o\n";
        let expected = [Record { time: 1.5e9, text: "one" }, Record { time: 3600.5e9, text: "o o" }];
        assert_eq!(parse(log), expected);
    }

    #[test]
    fn midnight_is_no_leap() {
        assert_eq!(between(DAY - 5.0, 7.0), 12.0);
        assert_eq!(between(3.0, 7.0), 4.0);
    }
}
