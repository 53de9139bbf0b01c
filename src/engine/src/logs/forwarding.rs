//! Which container's lines go to which log of the host, besides its log files.

use super::cri::Stream;
use super::forwarder::{Forwarder, HostLog, Origin};
use super::lines::Lines;
use casemate_wire::Name;
use std::collections::BTreeMap;

/// The connected logs, and the containers whose lines go there.
#[derive(Debug, Default)]
pub struct Forwarding {
    forwarders: BTreeMap<HostLog, Forwarder>,
    origins: BTreeMap<Name, (HostLog, Origin)>,
    lines: Lines,
}

impl Forwarding {
    /// Adds connected logs.
    pub fn connect(&mut self, forwarders: BTreeMap<HostLog, Forwarder>) {
        self.forwarders.extend(forwarders);
    }

    /// The logs that are connected.
    pub fn connected(&self) -> Vec<HostLog> {
        self.forwarders.keys().copied().collect()
    }

    /// From now on the lines of this container go to this log, or to none.
    pub fn set(&mut self, name: &Name, to: Option<(HostLog, Origin)>) {
        match to {
            Some(to) => self.origins.insert(name.clone(), to),
            None => self.origins.remove(name),
        };
    }

    /// Forwards a chunk of a container's output.
    pub fn output(&mut self, name: &Name, stream: Stream, chunk: &[u8]) {
        let Some((log, origin)) = self.origins.get(name) else { return };
        let Some(forwarder) = self.forwarders.get_mut(log) else { return };
        self.lines.add(name, stream, chunk, |line| forwarder.line(origin, stream, without_end(line)));
    }

    /// Forwards what an ended container has left without a line feed.
    pub fn end(&mut self, name: &Name) {
        let Some((log, origin)) = self.origins.get(name) else { return };
        let Some(forwarder) = self.forwarders.get_mut(log) else { return };
        self.lines.end(name, |stream, line| forwarder.line(origin, stream, without_end(line)));
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}
