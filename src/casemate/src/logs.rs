//! `casemate logs`.

use super::{Code, Error, Global, control};
use casemate_engine::control::{Error as ControlError, Request, send as send_to_manager};
use casemate_engine::launch::{self, Role};
use casemate_engine::logs::{Reader, Stream, cri};
use casemate_error::printable;
use casemate_spec::Date;
use casemate_wire::Name;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::process::ExitCode;

const EXAMPLE: &str = "Examples:\n  casemate logs web --tail 100 -f\n  casemate logs web --since 15m --timestamps";

/// Print the output of a container
///
/// Prints the container's standard output to standard output and its standard error to standard error, earlier runs included, as far
/// back as its log files go (`logging` in the file sets their size and number). Control characters are printed as escapes, unless --raw
/// is given. Works without a running manager too, except for --follow.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Logs {
    /// The container, by the name that it has in the file
    name: String,
    /// Keep printing new output until the container has ended
    #[arg(short, long)]
    follow: bool,
    /// Print only lines since this time: a duration before now (30s, 15m, 12h, 7d) or a UTC time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// Print only the last COUNT lines of the log
    #[arg(long, value_name = "COUNT")]
    tail: Option<u64>,
    /// Print the time of each line in front of it (RFC 3339, UTC)
    #[arg(short, long)]
    timestamps: bool,
    /// Print the bytes as the container wrote them, control characters included
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Since {
    /// Seconds before now.
    Ago(u64),
    /// The beginning of an RFC 3339 time, without the `Z`: log records compare with it as text.
    Time(String),
}

fn since(text: &str) -> Result<Since, String> {
    let (number, unit) = text.split_at(text.len().saturating_sub(usize::from(text.is_ascii())));
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 0,
    };
    if let Some(seconds) = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).filter(|_| factor > 0) {
        return Ok(Since::Ago(seconds));
    }
    let time = text.strip_suffix('Z').unwrap_or(text);
    let pattern = "0000-00-00T00:00:00.000000000";
    let fits = (matches!(time.len(), 10 | 16 | 19) || (21..=pattern.len()).contains(&time.len()))
        && time.bytes().zip(pattern.bytes()).all(|(c, p)| if p == b'0' { c.is_ascii_digit() } else { c == p });
    let number = |range: std::ops::Range<usize>| time.get(range).map_or(Some(0), |digits| digits.parse::<u8>().ok());
    let day = || Date::new(time.get(..4)?.parse().ok()?, number(5..7)?, number(8..10)?);
    let of_day = || Some(number(11..13)? < 24 && number(14..16)? < 60 && number(17..19)? < 60);
    if fits && day().is_some() && of_day() == Some(true) {
        Ok(Since::Time(time.to_owned()))
    } else {
        Err("expected a duration such as 15m or a UTC time such as 2026-01-31T12:00:00Z".to_owned())
    }
}

impl Logs {
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        let directories = global.directories()?;
        let request = Request::Logs { name: self.name.clone(), follow: self.follow, tail: self.tail };
        let run = directories.run.display();
        match send_to_manager(&directories.control_socket(), &request) {
            Ok(mut responses) => {
                launch::switch_to_manager_user()?;
                responses.next_response().map_err(|error| control::failed(&run, error))?;
                self.show(responses.records())?;
            }
            // Without a manager nothing is written to the log: read the files.
            Err(ControlError::NotRunning) if !self.follow => {
                let session = launch::enter(directories, Role::Store)?;
                self.show(BufReader::new(Files(self.files(&session.directories)?)))?;
            }
            Err(error) => return Err(control::failed(&run, error)),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn files(&self, directories: &launch::Directories) -> Result<Reader, Error> {
        let unknown = |error: &dyn std::fmt::Display| Error::new(Code::Usage, &self.name, "read its log", error);
        let name = Name::new(self.name.as_str()).map_err(|error| unknown(&error))?;
        let directory = directories.logs(&name);
        let tail = self.tail.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        match tail {
            Some(count) => Reader::tail(&directory, count),
            None => Reader::oldest(&directory),
        }
        .map_err(|error| unknown(&error).remedy("`casemate ps` lists the containers"))
    }

    fn show(&self, mut records: impl BufRead) -> Result<(), Error> {
        let first = match &self.since {
            Some(Since::Ago(seconds)) => before(cri::now(), *seconds),
            Some(Since::Time(time)) => time.clone(),
            None => String::new(),
        };
        let mut out = std::io::stdout().lock();
        let mut err = std::io::stderr().lock();
        let mut begun = [false; 2];
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = records.read_until(b'\n', &mut line);
            if read.map_err(|error| Error::new(Code::Failed, &self.name, "read its log", error))? == 0 {
                return Ok(());
            }
            let Some(record) = cri::parse(&line).filter(|record| record.time >= first.as_str()) else {
                continue;
            };
            let [of_out, of_err] = &mut begun;
            let (to, begun): (&mut dyn Write, _) = match record.stream {
                Stream::Stdout => (&mut out, of_out),
                Stream::Stderr => (&mut err, of_err),
            };
            let written = to.write_all(&self.piece(&record, *begun)).and_then(|()| to.flush());
            *begun = !record.ends;
            match written {
                Ok(()) => {}
                // The reader has closed the pipe, as `head` does.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Error::new(Code::Failed, &self.name, "print its log", error)),
            }
        }
    }

    /// One record as it is printed. A partial record, which the next one continues, has no line feed. `begun`: the previous record of
    /// this stream was partial, so this one gets no timestamp.
    fn piece(&self, record: &cri::Record<'_>, begun: bool) -> Vec<u8> {
        let mut piece = Vec::with_capacity(record.text.len() + 40);
        if self.timestamps && !begun {
            piece.extend_from_slice(record.time.as_bytes());
            piece.push(b' ');
        }
        if self.raw {
            piece.extend_from_slice(record.text);
        } else {
            let mut text = String::with_capacity(record.text.len());
            printable(record.text, &mut text);
            piece.extend_from_slice(text.as_bytes());
        }
        if record.ends {
            piece.push(b'\n');
        }
        piece
    }
}

/// The time `seconds` before `now` (nanoseconds since 1970), but not before 1970.
fn before(now: u64, seconds: u64) -> String {
    cri::timestamp(now.saturating_sub(seconds.saturating_mul(1_000_000_000)))
}

/// The log files as one stream. It ends at their current end.
struct Files(Reader);

impl Read for Files {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_accepts_a_duration_or_a_time() {
        assert_eq!(since("90s"), Ok(Since::Ago(90)));
        assert_eq!(since("2h"), Ok(Since::Ago(7200)));
        assert_eq!(since("200000000000000d"), Ok(Since::Ago(200_000_000_000_000 * 86_400)));
        assert_eq!(since("2026-01-31"), Ok(Since::Time("2026-01-31".into())));
        assert_eq!(since("2026-01-31T12:00:00Z"), Ok(Since::Time("2026-01-31T12:00:00".into())));
        assert_eq!(before(3_000_000_000, 2), "1970-01-01T00:00:01.000000000Z");
        assert_eq!(before(3_000_000_000, u64::MAX), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(since("2024-02-29T23:59"), Ok(Since::Time("2024-02-29T23:59".into())));
        for bad in ["", "5", "m", "-5m", "yesterday", "2026-1-31", "é", "99999999999999999999d", "2026-01-31 12:00"] {
            assert!(since(bad).is_err(), "{bad}");
        }
        // These times do not exist; compared as text, they would select wrong lines.
        for invalid in ["2026-13-01", "2026-02-30", "2026-01-31T24:00", "2026-01-31T1", "2026-01-31T12:60:00Z"] {
            assert!(since(invalid).is_err(), "{invalid}");
        }
    }
}
