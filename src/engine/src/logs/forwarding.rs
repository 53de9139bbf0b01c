//! Forwarding of container output to host logs, besides the log files.

use super::cri::Stream;
use super::forwarder::{Forwarder, HostLog, Origin};
use super::lines::Lines;
use casemate_wire::Name;
use std::collections::BTreeMap;

/// The connected host logs, and the containers whose lines go there.
#[derive(Debug, Default)]
pub struct Forwarding {
    forwarders: BTreeMap<HostLog, Forwarder>,
    origins: BTreeMap<Name, (HostLog, Origin)>,
    lines: Lines,
}

impl Forwarding {
    /// Adds connected host logs.
    pub fn connect(&mut self, forwarders: BTreeMap<HostLog, Forwarder>) {
        self.forwarders.extend(forwarders);
    }

    /// The connected host logs.
    pub fn connected(&self) -> Vec<HostLog> {
        self.forwarders.keys().copied().collect()
    }

    /// Sets the host log of a container, or none.
    pub fn set(&mut self, name: &Name, target: Option<(HostLog, Origin)>) {
        match target {
            Some(target) => self.origins.insert(name.clone(), target),
            None => self.origins.remove(name),
        };
    }

    /// Forwards the complete lines of a chunk of output.
    pub fn output(&mut self, name: &Name, stream: Stream, chunk: &[u8]) {
        let Some((log, origin)) = self.origins.get(name) else { return };
        let Some(forwarder) = self.forwarders.get_mut(log) else { return };
        self.lines.add(name, stream, chunk, |line| forwarder.line(origin, stream, without_line_feed(line)));
    }

    /// Forwards the unfinished lines of an ended container.
    pub fn end(&mut self, name: &Name) {
        let Some((log, origin)) = self.origins.get(name) else { return };
        let Some(forwarder) = self.forwarders.get_mut(log) else { return };
        self.lines.end(name, |stream, line| forwarder.line(origin, stream, without_line_feed(line)));
    }
}

fn without_line_feed(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}
