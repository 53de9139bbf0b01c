//! Chunks of output as lines: a line that is not whole yet waits for its rest, each stream of each container for itself.

use super::cri::Stream;
use casemate_wire::Name;
use std::collections::BTreeMap;

/// A line longer than this, in bytes, is given in pieces.
const LONGEST: usize = 16 * 1024;

/// Lines that are not whole yet.
#[derive(Debug, Default)]
pub struct Lines(BTreeMap<(Name, bool), Vec<u8>>);

impl Lines {
    /// Adds a chunk, and gives each line that is whole now, with its line feed.
    pub fn add(&mut self, name: &Name, stream: Stream, chunk: &[u8], mut line: impl FnMut(&[u8])) {
        let key = (name.clone(), stream == Stream::Stderr);
        let mut begun = self.0.remove(&key).unwrap_or_default();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || begun.len() > LONGEST {
                line(&begun);
                begun.clear();
            }
        }
        if !begun.is_empty() {
            self.0.insert(key, begun);
        }
    }

    /// Gives what a container has left without a line feed at its end.
    pub fn end(&mut self, name: &Name, mut line: impl FnMut(Stream, &[u8])) {
        for (is_error, stream) in [(false, Stream::Stdout), (true, Stream::Stderr)] {
            if let Some(rest) = self.0.remove(&(name.clone(), is_error)) {
                line(stream, &rest);
            }
        }
    }

    /// The containers that have left something.
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
    fn lines_are_given_whole_and_the_rest_at_the_end() {
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
    fn threat_28_line_without_end_is_given_in_pieces() {
        let name = Name::new("web").unwrap();
        let mut lines = Lines::default();
        let mut pieces = 0;
        for _ in 0..10 {
            lines.add(&name, Stream::Stdout, &[b'x'; 8192], |piece| {
                assert!(piece.len() <= LONGEST + 8192);
                pieces += 1;
            });
        }
        assert!(pieces >= 3, "{pieces}");
    }
}
