//! The messages to the service manager: READY, STATUS with the state of each container, and watchdog pings.

use crate::notify::Notifier;
use crate::table::Table;
use std::fmt::Write as _;
use std::time::Instant;

/// Bytes of a status line.
const MAX_STATUS: usize = 1024;

/// What was sent already, so that it is sent once.
#[derive(Debug, Default)]
pub struct Status {
    notifier: Notifier,
    ready: bool,
    stopping: bool,
    text: String,
    next_ping: Option<Instant>,
}

impl Status {
    /// Sends through this notifier.
    pub fn new(notifier: Notifier) -> Self {
        Self { notifier, ..Self::default() }
    }

    /// A reload has begun; [`Self::update`] reports its end.
    pub fn reloading(&mut self) {
        self.notifier.reloading();
        self.ready = false;
    }

    /// Sends what has changed, and pings the watchdog when due. `settled`: a file was applied, and no reload is in progress.
    pub fn update(&mut self, table: &Table, settled: bool, now: Instant) {
        let Some(interval) = self.notifier.interval() else { return };
        if self.next_ping.is_none_or(|next| next <= now) {
            self.notifier.ping();
            self.next_ping = Some(now + interval);
        }
        let text = summary(table);
        if text != self.text {
            self.notifier.status(&text);
            self.text = text;
        }
        if table.is_stopping() && !self.stopping {
            self.notifier.stopping();
            self.stopping = true;
        }
        if settled && !self.ready && !table.is_stopping() && table.all_starts_decided() {
            self.ready = self.notifier.ready();
        }
    }

    /// When the next watchdog ping is due; `None` without a service manager.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.next_ping
    }
}

/// Containers and their states in file order, cut after [`MAX_STATUS`].
fn summary(table: &Table) -> String {
    let mut text = String::new();
    for (name, container) in table.in_order() {
        if text.len() > MAX_STATUS {
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
    fn no_ping_is_due_without_a_service_manager() {
        let mut status = Status::default();
        status.update(&Table::default(), true, Instant::now());
        assert_eq!(status.next_deadline(), None);
    }
}
