//! What `up` shows in the foreground: each line of output behind the container's name, control bytes shown instead of obeyed
//! (threat rows 21 and 29), and never at the price of waiting for whoever reads it.

use super::logs::Stream;
use crate::printable::printable;
use casemate_wire::Name;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{IsTerminal, Stdout, Write as _, stdout};

/// A line longer than this is shown in pieces.
const LONGEST: usize = 16 * 1024;
/// Output that a reader has not taken; past it lines are left out. The logs have them.
const BACKLOG: usize = 1 << 20;
/// POLLOUT promises room for this much (pipe(7), PIPE_BUF).
const ONCE: usize = 4096;
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// The screen, or whatever standard output is.
#[derive(Debug)]
pub struct Show {
    out: Stdout,
    colour: bool,
    width: usize,
    order: BTreeMap<Name, usize>,
    lines: BTreeMap<(Name, bool), Vec<u8>>,
    waiting: VecDeque<u8>,
    left_out: u64,
    gone: bool,
}

impl Show {
    /// For these containers, so that their names align.
    pub fn new(names: &[&Name]) -> Self {
        let out = stdout();
        Self {
            colour: out.is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            out,
            width: names.iter().map(|name| name.as_str().len()).max().unwrap_or(0),
            order: names.iter().enumerate().map(|(n, name)| ((*name).clone(), n)).collect(),
            lines: BTreeMap::new(),
            waiting: VecDeque::new(),
            left_out: 0,
            gone: false,
        }
    }

    /// A chunk of a container's output.
    pub fn output(&mut self, name: &Name, stream: Stream, chunk: &[u8]) {
        if self.gone {
            return;
        }
        let key = (name.clone(), stream == Stream::Stderr);
        let mut line = self.lines.remove(&key).unwrap_or_default();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || line.len() > LONGEST {
                self.line(name, &line);
                line.clear();
            }
        }
        self.lines.insert(key, line);
    }

    /// A word of our own about a container.
    pub fn note(&mut self, name: &Name, text: &str) {
        self.line(name, format!("* {text}").as_bytes());
    }

    /// Shows what a container left without a line feed at its end.
    pub fn ended(&mut self, name: &Name) {
        for stream in [false, true] {
            if let Some(line) = self.lines.remove(&(name.clone(), stream)).filter(|line| !line.is_empty()) {
                self.line(name, &line);
            }
        }
    }

    fn line(&mut self, name: &Name, line: &[u8]) {
        if self.gone {
            return;
        }
        if self.waiting.len() > BACKLOG {
            self.left_out += 1;
            return;
        }
        let mut text = String::with_capacity(line.len() + 32);
        if self.left_out > 0 {
            let count = std::mem::take(&mut self.left_out);
            let _ = writeln!(text, "casemate: {count} lines are not shown here; `casemate logs` has them");
        }
        let width = self.width;
        let shown = name.as_str();
        match self.order.get(name).and_then(|n| COLOURS.get(n % COLOURS.len())) {
            Some(colour) if self.colour => {
                let _ = write!(text, "\u{1b}[{colour}m{shown:width$} |\u{1b}[0m ");
            }
            _ => {
                let _ = write!(text, "{shown:width$} | ");
            }
        }
        printable(line, &mut text);
        text.push('\n');
        self.waiting.extend(text.as_bytes());
    }

    /// The descriptor to wait on while something waits.
    pub fn wants(&self) -> Option<BorrowedFd<'_>> {
        (!self.waiting.is_empty() && !self.gone).then(|| self.out.as_fd())
    }

    /// Writes what the reader takes without waiting.
    pub fn flush(&mut self) {
        while !self.waiting.is_empty() && !self.gone && self.takes_more() {
            let (head, _) = self.waiting.as_slices();
            let head = head.get(..ONCE.min(head.len())).unwrap_or_default();
            match rustix::io::write(&self.out, head) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return,
                Err(_) => self.forget(),
            }
        }
    }

    fn takes_more(&mut self) -> bool {
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut ready = [PollFd::from_borrowed_fd(self.out.as_fd(), PollFlags::OUT)];
        let count = poll(&mut ready, Some(&now)).unwrap_or(0);
        let [ready] = ready;
        if count > 0 && !ready.revents().contains(PollFlags::OUT) {
            // Hung up: nobody will read any more, and the containers are not to suffer for it.
            self.forget();
        }
        count > 0 && !self.gone
    }

    fn forget(&mut self) {
        self.gone = true;
        self.waiting.clear();
        self.lines.clear();
    }

    /// At the end there is nothing else to do than to wait for the reader.
    pub fn finish(mut self) {
        let rest: Vec<u8> = std::mem::take(&mut self.waiting).into();
        if !self.gone {
            let _ = self.out.write_all(&rest).and_then(|()| self.out.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wait_until_they_are_whole() {
        let name = Name::new("web").unwrap();
        let other = Name::new("longer").unwrap();
        let mut show = Show { colour: false, ..Show::new(&[&name, &other]) };
        show.output(&name, Stream::Stdout, b"one\ntw");
        show.output(&name, Stream::Stderr, b"err\n");
        show.output(&name, Stream::Stdout, b"o\nrest");
        show.ended(&name);
        let text = String::from_utf8(show.waiting.clone().into()).unwrap();
        assert_eq!(text, "web    | one\nweb    | err\nweb    | two\nweb    | rest\n");
    }

    #[test]
    fn threat_28_a_reader_that_sleeps_costs_bounded_memory() {
        let name = Name::new("web").unwrap();
        let mut show = Show { colour: false, ..Show::new(&[&name]) };
        for _ in 0..100_000 {
            show.output(&name, Stream::Stdout, &[b'x'; 100]);
            show.output(&name, Stream::Stdout, b"\n");
        }
        assert!(show.waiting.len() < BACKLOG + LONGEST * 2);
        assert!(show.left_out > 0);
    }
}
