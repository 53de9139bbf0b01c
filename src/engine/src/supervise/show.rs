//! What is shown of the containers' output and of our own words. In the foreground each line of output stands behind the
//! container's name, control bytes shown instead of obeyed (threat rows 21 and 29), standard output and error each in ours; and
//! lines go to the host's logs, where the file says so.

use super::outlet::Outlet;
use crate::logs::{Host, Kind, Origin, Stream, own};
use casemate_error::printable;
use casemate_wire::Name;
use rustix::fd::BorrowedFd;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, IsTerminal};

/// A line longer than this is shown in pieces.
const LONGEST: usize = 16 * 1024;
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// The screen, or whatever standard output and error are.
#[derive(Debug)]
pub struct Show {
    out: Outlet,
    err: Outlet,
    output: bool,
    colour: bool,
    width: usize,
    order: BTreeMap<Name, usize>,
    lines: BTreeMap<(Name, bool), Vec<u8>>,
    hosts: BTreeMap<Kind, Host>,
    origins: BTreeMap<Name, (Kind, Origin)>,
}

impl Drop for Show {
    /// From here on our own words find their way by themselves.
    fn drop(&mut self) {
        own::release();
    }
}

impl Show {
    /// For these containers, so that their names align. From now on our own words are shown here.
    pub fn new(names: &[&Name]) -> io::Result<Self> {
        own::keep();
        let copy = |descriptor: BorrowedFd<'_>| descriptor.try_clone_to_owned().map(Outlet::new);
        let (out, err) = (io::stdout(), io::stderr());
        Ok(Self {
            colour: out.is_terminal() && err.is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            out: copy(rustix::fd::AsFd::as_fd(&out))?,
            err: copy(rustix::fd::AsFd::as_fd(&err))?,
            output: true,
            width: names.iter().map(|name| name.as_str().len()).max().unwrap_or(0),
            order: names.iter().enumerate().map(|(n, name)| ((*name).clone(), n)).collect(),
            lines: BTreeMap::new(),
            hosts: BTreeMap::new(),
            origins: BTreeMap::new(),
        })
    }

    /// Leaves the containers' output to their logs, and shows what we say ourselves.
    #[must_use]
    pub fn notes_only(mut self) -> Self {
        self.output = false;
        self
    }

    /// Adds logs of the host, for the containers whose lines go there.
    pub fn connect(&mut self, hosts: BTreeMap<Kind, Host>) {
        self.hosts.extend(hosts);
    }

    /// Whether this log of the host is there.
    pub fn has(&self, kind: Kind) -> bool {
        self.hosts.contains_key(&kind)
    }

    /// From now on the lines of this container go to this log of the host, too, or to none.
    pub fn send_on(&mut self, name: &Name, to: Option<(Kind, Origin)>) {
        match to {
            Some(to) => self.origins.insert(name.clone(), to),
            None => self.origins.remove(name),
        };
    }

    /// A chunk of a container's output.
    pub fn output(&mut self, name: &Name, stream: Stream, chunk: &[u8]) {
        if !self.output && !self.origins.contains_key(name) {
            return;
        }
        let key = (name.clone(), stream == Stream::Stderr);
        let mut line = self.lines.remove(&key).unwrap_or_default();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || line.len() > LONGEST {
                self.line(name, key.1, &line);
                line.clear();
            }
        }
        self.lines.insert(key, line);
    }

    /// Shows what a container left without a line feed at its end.
    pub fn ended(&mut self, name: &Name) {
        for is_error in [false, true] {
            let rest = self.lines.remove(&(name.clone(), is_error)).unwrap_or_default();
            if !rest.is_empty() {
                self.line(name, is_error, &rest);
            }
        }
    }

    /// Our own words, before whatever comes after them.
    fn own(&mut self) {
        own::take().iter().for_each(|line| self.err.put(line));
    }

    fn line(&mut self, name: &Name, is_error: bool, line: &[u8]) {
        if let Some((kind, origin)) = self.origins.get(name)
            && let Some(host) = self.hosts.get_mut(kind)
        {
            let stream = if is_error { Stream::Stderr } else { Stream::Stdout };
            host.line(origin, stream, line.strip_suffix(b"\n").unwrap_or(line));
        }
        if !self.output {
            return;
        }
        self.own();
        let mut text = String::with_capacity(line.len() + 32);
        let (width, shown) = (self.width, name.as_str());
        // Writing to a string cannot fail.
        let _ = match self.order.get(name).and_then(|n| COLOURS.get(n % COLOURS.len())) {
            Some(colour) if self.colour => write!(text, "\u{1b}[{colour}m{shown:width$} |\u{1b}[0m "),
            _ => write!(text, "{shown:width$} | "),
        };
        printable(line, &mut text);
        text.push('\n');
        if is_error { self.err.put(&text) } else { self.out.put(&text) }
    }

    /// The descriptors to wait on while something waits.
    pub fn wants(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.out.wants().into_iter().chain(self.err.wants())
    }

    /// Writes what the readers take without waiting.
    pub fn flush(&mut self) {
        self.own();
        self.out.flush();
        self.err.flush();
    }

    /// Writes the rest, lines that have no end yet included.
    pub fn finish(mut self) {
        let begun: BTreeSet<Name> = self.lines.keys().map(|(name, _)| name.clone()).collect();
        begun.iter().for_each(|name| self.ended(name));
        self.own();
        self.out.finish();
        self.err.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::OwnedFd;
    use rustix::pipe::{PipeFlags, pipe_with};

    fn all(read: &OwnedFd) -> String {
        let mut buffer = [0; 4096];
        let count = rustix::io::read(read, &mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[test]
    fn lines_wait_until_they_are_whole_and_names_align() {
        let (name, other) = (Name::new("web").unwrap(), Name::new("longer").unwrap());
        let (out, out_write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (err, err_write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut show = Show::new(&[&name, &other]).unwrap();
        (show.out, show.err, show.colour) = (Outlet::new(out_write), Outlet::new(err_write), false);
        show.output(&name, Stream::Stdout, b"one\ntw");
        show.output(&name, Stream::Stderr, b"err\x1b\n");
        show.output(&name, Stream::Stdout, b"o\nrest");
        show.ended(&name);
        show.output(&other, Stream::Stdout, b"not ended");
        show.finish();
        assert_eq!(all(&out), "web    | one\nweb    | two\nweb    | rest\nlonger | not ended\n");
        assert_eq!(all(&err), "web    | err\\u{1b}\n");
    }
}
