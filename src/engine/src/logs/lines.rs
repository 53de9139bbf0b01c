//! Splits chunks of output into lines, per stream and container; an unfinished line is buffered until it is complete.

use super::cri::Stream;
use casemate_wire::Name;
use std::collections::BTreeMap;

/// Bytes after which a line is passed on in parts.
const MAX_LINE: usize = 16 * 1024;

/// Unfinished lines.
#[derive(Debug, Default)]
pub struct Lines(BTreeMap<(Name, bool), Vec<u8>>);

impl Lines {
    /// Adds a chunk, and passes each complete line to `line`, with its line feed.
    pub fn add(&mut self, name: &Name, stream: Stream, chunk: &[u8], mut line: impl FnMut(&[u8])) {
        let key = (name.clone(), stream == Stream::Stderr);
        let mut unfinished = self.0.remove(&key).unwrap_or_default();
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            unfinished.extend_from_slice(part);
            if part.ends_with(b"\n") || unfinished.len() > MAX_LINE {
                line(&unfinished);
                unfinished.clear();
            }
        }
        if !unfinished.is_empty() {
            self.0.insert(key, unfinished);
        }
    }

    /// Passes the unfinished lines of an ended container to `line`.
    pub fn end(&mut self, name: &Name, mut line: impl FnMut(Stream, &[u8])) {
        for (is_error, stream) in [(false, Stream::Stdout), (true, Stream::Stderr)] {
            if let Some(rest) = self.0.remove(&(name.clone(), is_error)) {
                line(stream, &rest);
            }
        }
    }

    /// The containers with unfinished lines.
    pub fn names(&self) -> Vec<Name> {
        let mut names: Vec<Name> = self.0.keys().map(|(name, _)| name.clone()).collect();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_passed_complete_and_the_rest_at_the_end() {
        let name = Name::new("web").unwrap();
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for (stream, chunk) in
            [(Stream::Stdout, &b"one\ntw"[..]), (Stream::Stderr, b"err\n"), (Stream::Stdout, b"o\nrest")]
        {
            lines.add(&name, stream, chunk, |line| seen.push(String::from_utf8_lossy(line).into_owned()));
        }
        assert_eq!(seen, ["one\n", "err\n", "two\n"]);
        assert_eq!(lines.names(), std::slice::from_ref(&name));
        lines.end(&name, |stream, line| assert_eq!((stream, line), (Stream::Stdout, &b"rest"[..])));
        assert!(lines.names().is_empty());
    }

    #[test]
    fn threat_28_line_without_end_is_passed_in_parts() {
        let name = Name::new("web").unwrap();
        let mut lines = Lines::default();
        let mut parts = 0;
        for _ in 0..10 {
            lines.add(&name, Stream::Stdout, &[b'x'; 8192], |part| {
                assert!(part.len() <= MAX_LINE + 8192);
                parts += 1;
            });
        }
        assert!(parts >= 3, "{parts}");
    }
}
