//! The CRI log format: `2026-01-31T12:00:00.000000000Z stdout F text`, one record a line (kubernetes, KEP "CRI log").
//!
//! `F` is the last or only part of a line, `P` a part that continues in the next record of its stream. A payload cannot forge a
//! record: each line feed that it writes starts a new record of its own stream (threat row 29).

/// The stream of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The name in the format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Appends the records of a chunk to `out`. A chunk that has to be written again gives the same records except for the time.
pub fn format(chunk: &[u8], stream: Stream, nanoseconds: u64, out: &mut Vec<u8>) {
    let time = timestamp(nanoseconds);
    let head = |tag: &str| format!("{time} {} {tag} ", stream.name()).into_bytes();
    let full = head("F");
    let part = head("P");
    for line in chunk.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.last() == Some(&b'\n');
        out.extend_from_slice(if whole { &full } else { &part });
        out.extend_from_slice(line);
        if !whole {
            out.push(b'\n');
        }
    }
}

/// A parsed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// RFC 3339 with nine digits of fraction; sorts as text.
    pub time: &'a str,
    /// The stream.
    pub stream: Stream,
    /// Whether the line ends here (`F`).
    pub ends: bool,
    /// The payload's bytes, without the line feed.
    pub text: &'a [u8],
}

/// Parses a record, with or without its line feed; `None` if it is invalid.
pub fn parse(line: &[u8]) -> Option<Record<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?;
    let stream = match fields.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let ends = match fields.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Record { time, stream, ends, text: fields.next()? })
}

/// RFC 3339 in UTC with nanoseconds, of nanoseconds since 1970.
pub fn timestamp(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let fraction = nanoseconds % 1_000_000_000;
    let days = seconds / 86_400;
    let of_day = seconds % 86_400;
    let (year, month, day) = civil(days);
    let hour = of_day / 3600;
    let minute = of_day / 60 % 60;
    let second = of_day % 60;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
}

/// Year, month and day of a number of days since 1970-01-01: by eras of 400 years that begin on 1 March, so that the leap day is the
/// last of a year.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Nanoseconds since 1970, now.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_known_days_are_right() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_709_251_199, "2024-02-29T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (1_795_258_413, "2026-11-21T10:53:33"),
        ] {
            assert_eq!(timestamp(seconds * 1_000_000_000 + 7), format!("{text}.000000007Z"));
        }
    }

    #[test]
    fn formatted_records_are_parsed_again() {
        let mut out = Vec::new();
        format(b"one\n\ntwo", Stream::Stderr, 0, &mut out);
        let records: Vec<_> = out.split_inclusive(|b| *b == b'\n').map(|line| parse(line).unwrap()).collect();
        let seen: Vec<_> = records.iter().map(|r| (r.text, r.ends, r.stream)).collect();
        let err = Stream::Stderr;
        assert_eq!(seen, [(&b"one"[..], true, err), (b"", true, err), (b"two", false, err)]);
    }

    #[test]
    fn threat_29_payload_cannot_forge_a_record() {
        let mut out = Vec::new();
        format(b"x\n1970-01-01T00:00:00.000000000Z stderr F forged\n", Stream::Stdout, 1, &mut out);
        let mut records = out.split_inclusive(|byte| *byte == b'\n').filter_map(parse);
        assert!(records.all(|record| record.stream == Stream::Stdout && record.time.ends_with("01Z")));
    }

    #[test]
    fn malformed_record_is_refused() {
        for bad in [&b""[..], b"\n", b"a b", b"t stdout X y", b"t stdin F y", b"t stdout F", b"\xff stdout F x"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
