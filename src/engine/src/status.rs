//! What the service manager is told: that everything of the file is up, how each container stands, and that the loop turns.

use crate::notify::Notifier;
use crate::table::Table;
use std::fmt::Write as _;
use std::time::Instant;

/// A status longer than this, in bytes, is cut: it is one line for people.
const LONGEST: usize = 1024;

/// What was told, so that it is told once.
#[derive(Debug, Default)]
pub struct Status {
    notifier: Notifier,
    ready: bool,
    closing: bool,
    text: String,
    next_ping: Option<Instant>,
}

impl Status {
    /// Through this notifier.
    pub fn new(notifier: Notifier) -> Self {
        Self { notifier, ..Self::default() }
    }

    /// A reload has begun; [`Self::turn`] tells when everything of the file is up.
    pub fn reloading(&mut self) {
        self.notifier.reloading();
        self.ready = false;
    }

    /// Tells what is new, and pings the watchdog when that is due. `settled`: a file was applied, and no other is on its way.
    pub fn turn(&mut self, table: &Table, settled: bool, now: Instant) {
        let Some(pause) = self.notifier.pause() else { return };
        if self.next_ping.is_none_or(|next| next <= now) {
            self.notifier.alive();
            self.next_ping = Some(now + pause);
        }
        let text = summary(table);
        if text != self.text {
            self.notifier.status(&text);
            self.text = text;
        }
        if table.is_closing() && !self.closing {
            self.notifier.stopping();
            self.closing = true;
        }
        if settled && !self.ready && !table.is_closing() && table.all_decided() {
            self.ready = self.notifier.ready();
        }
    }

    /// When the watchdog is to be pinged again; `None`: nobody waits for it.
    pub fn next_moment(&self) -> Option<Instant> {
        self.next_ping
    }
}

/// The containers and their states in the order of the file, as far as one line goes.
fn summary(table: &Table) -> String {
    let mut text = String::new();
    for (name, container) in table.in_order() {
        if text.len() > LONGEST {
            text.push_str(", …");
            break;
        }
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}{name} {}", container.state());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_service_manager_nothing_is_due() {
        let mut status = Status::default();
        status.turn(&Table::default(), true, Instant::now());
        assert_eq!(status.next_moment(), None);
    }
}
