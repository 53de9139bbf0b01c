//! Standard output and error of `casemate up`: each line of output after its container's name, control characters escaped (threats 21
//! and 29), and the manager's log lines between them.

use crate::logs::{Lines, Stream, manager_log};
use crate::writer::Writer;
use casemate_error::printable;
use casemate_wire::Name;
use rustix::fd::{BorrowedFd, OwnedFd};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::rc::Rc;

const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// What the console prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsoleContent {
    /// The containers' output, and the manager's log.
    OutputAndLog,
    /// The manager's log only, in a service.
    Log,
}

/// Both streams.
#[derive(Debug)]
pub struct Console {
    out: Writer,
    err: Writer,
    content: ConsoleContent,
    colour: bool,
    width: usize,
    order: BTreeMap<Name, usize>,
    lines: Lines,
}

impl Drop for Console {
    /// The manager's log writes to standard error itself again.
    fn drop(&mut self) {
        manager_log::unbuffer();
    }
}

impl Console {
    /// On this process's standard output and error. The manager's log lines are printed here from now on.
    pub fn new(content: ConsoleContent) -> io::Result<Self> {
        manager_log::buffer_lines();
        let copy = |stream: BorrowedFd<'_>| stream.try_clone_to_owned().map(Writer::new);
        let out = io::stdout();
        let err = io::stderr();
        Ok(Self {
            colour: out.is_terminal() && err.is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            out: copy(rustix::fd::AsFd::as_fd(&out))?,
            err: copy(rustix::fd::AsFd::as_fd(&err))?,
            content,
            width: 0,
            order: BTreeMap::new(),
            lines: Lines::default(),
        })
    }

    /// Sets the names of the prefix: their order gives the colours, the longest the width.
    pub fn set_names<'a>(&mut self, names: impl Iterator<Item = &'a Name>) {
        self.order = names.enumerate().map(|(n, name)| (name.clone(), n)).collect();
        self.width = self.order.keys().map(|name| name.as_str().len()).max().unwrap_or(0);
    }

    /// Prints the complete lines of a chunk of output.
    pub fn output(&mut self, name: &Name, stream: Stream, chunk: &[u8]) {
        if self.content == ConsoleContent::OutputAndLog {
            let mut lines = std::mem::take(&mut self.lines);
            lines.add(name, stream, chunk, |line| self.line(name, stream, line));
            self.lines = lines;
        }
    }

    /// Prints the unfinished lines of an ended container.
    pub fn end(&mut self, name: &Name) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.end(name, |stream, line| self.line(name, stream, line));
        self.lines = lines;
    }

    /// Prints the manager's log lines that came before.
    fn log_lines(&mut self) {
        manager_log::take_lines().iter().for_each(|line| self.err.put(line));
    }

    fn line(&mut self, name: &Name, stream: Stream, line: &[u8]) {
        self.log_lines();
        let mut text = String::with_capacity(line.len() + 32);
        let width = self.width;
        let prefix = name.as_str();
        // Writing to a string cannot fail.
        let _ = match self.order.get(name).and_then(|n| COLOURS.get(n % COLOURS.len())) {
            Some(colour) if self.colour => write!(text, "\u{1b}[{colour}m{prefix:width$} |\u{1b}[0m "),
            _ => write!(text, "{prefix:width$} | "),
        };
        printable(line, &mut text);
        text.push('\n');
        match stream {
            Stream::Stdout => self.out.put(&text),
            Stream::Stderr => self.err.put(&text),
        }
    }

    /// Standard output and error.
    pub fn streams(&self) -> [&Rc<OwnedFd>; 2] {
        [self.out.descriptor(), self.err.descriptor()]
    }

    /// Whether standard output and error have unwritten bytes.
    pub fn has_pending(&self) -> [bool; 2] {
        [self.out.has_pending(), self.err.has_pending()]
    }

    /// Writes without waiting for the readers.
    pub fn flush(&mut self) {
        self.log_lines();
        self.out.flush();
        self.err.flush();
    }

    /// Writes everything, unfinished lines included, and waits for the readers.
    pub fn finish(mut self) {
        for name in self.lines.names() {
            self.end(&name);
        }
        self.log_lines();
        self.out.finish();
        self.err.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    fn all(read: &OwnedFd) -> String {
        let mut buffer = [0; 4096];
        let count = rustix::io::read(read, &mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[test]
    fn lines_are_printed_complete_with_aligned_names() {
        let name = Name::new("web").unwrap();
        let other = Name::new("longer").unwrap();
        let (out, out_write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (err, err_write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut console = Console::new(ConsoleContent::OutputAndLog).unwrap();
        console.set_names([&name, &other].into_iter());
        console.out = Writer::new(out_write);
        console.err = Writer::new(err_write);
        console.colour = false;
        console.output(&name, Stream::Stdout, b"one\ntw");
        console.output(&name, Stream::Stderr, b"err\x1b\n");
        console.output(&name, Stream::Stdout, b"o\nrest");
        console.end(&name);
        console.output(&other, Stream::Stdout, b"not ended");
        console.finish();
        assert_eq!(all(&out), "web    | one\nweb    | two\nweb    | rest\nlonger | not ended\n");
        assert_eq!(all(&err), "web    | err\\u{1b}\n");
    }
}
