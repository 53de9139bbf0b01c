//! casemate's own log, by the `log` facade: what a manager says while it supervises. A field `container` names the one it is
//! about.
//!
//! A record goes to a log of the host where the file says so, and as a line to standard error: in the foreground always, in a
//! service where there is nothing else. Nobody is waited for: while [`keep`] holds, lines for standard error are handed to
//! whoever writes there without waiting.

use super::forwarder::{CONTAINER, Forwarder, HostLog};
use super::record::Record;
use casemate_error::escaped;
use log::kv::Key;
use log::{Level, LevelFilter, Log};
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

static OWN: Own = Own(Mutex::new(State { host: None, screen: true, marked: false, kept: None }));

#[derive(Debug)]
struct Own(Mutex<State>);

#[derive(Debug)]
struct State {
    host: Option<Forwarder>,
    /// Standard error is written to.
    screen: bool,
    /// Its lines begin with a priority.
    marked: bool,
    /// Its lines, while somebody else writes them.
    kept: Option<Vec<String>>,
}

/// From now on there is a log: in the host's, where there is one, and on standard error if that is asked for or nothing else is
/// there.
pub fn open(host: Option<Forwarder>, screen: bool) {
    let mut state = OWN.state();
    state.marked = std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_standard_error(&stream));
    state.screen = screen || host.is_none();
    state.host = host;
    drop(state);
    // Only a second call can fail, and changes nothing.
    if log::set_logger(&OWN).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// Which log of the host it goes to.
pub fn host_log() -> Option<HostLog> {
    OWN.state().host.as_ref().map(Forwarder::kind)
}

/// From now on lines for standard error wait for [`take`].
pub fn keep() {
    OWN.state().kept.get_or_insert_default();
}

/// The lines that wait.
pub fn take() -> Vec<String> {
    OWN.state().kept.as_mut().map(std::mem::take).unwrap_or_default()
}

/// Writes what waits, and from now on every line at once.
pub fn release() {
    for line in OWN.state().kept.take().unwrap_or_default() {
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

impl Own {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Own {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        let container = record.key_values().get(Key::from("container")).map(|name| name.to_string());
        let text = match &container {
            Some(name) => format!("{name}: {}", record.args()),
            None => record.args().to_string(),
        };
        self.state().record(record.level(), container.as_deref(), &text);
    }

    fn flush(&self) {}
}

impl State {
    fn record(&mut self, level: Level, container: Option<&str>, text: &str) {
        let (priority, text) = (priority(level), escaped(text));
        if let Some(host) = &mut self.host {
            let field = container.map(|name| (CONTAINER, name));
            host.put(&Record { identifier: "casemate", priority, fields: field.as_slice(), text: text.as_bytes() });
        }
        if !self.screen {
            return;
        }
        let mark = if self.marked { format!("<{priority}>") } else { String::new() };
        let line = format!("{mark}casemate: {text}\n");
        match &mut self.kept {
            Some(kept) => kept.push(line),
            None => drop(std::io::stderr().write_all(line.as_bytes())),
        }
    }
}

/// syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Whether this stream of the journal, `device:inode` as in JOURNAL_STREAM (systemd.exec(5)), is our standard error: only then
/// somebody reads the priorities.
fn is_standard_error(stream: &str) -> bool {
    let found = rustix::fs::fstat(rustix::stdio::stderr());
    found.is_ok_and(|found| stream == format!("{}:{}", found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_29_a_record_is_one_line_with_its_priority_where_somebody_reads_it() {
        let mut state = State { host: None, screen: true, marked: false, kept: Some(Vec::new()) };
        state.record(Level::Info, Some("web"), "web: exited with 0\n<0>forged");
        state.marked = true;
        state.record(Level::Warn, None, "hello");
        state.screen = false;
        state.record(Level::Error, None, "not shown");
        assert_eq!(state.kept.unwrap(), ["casemate: web: exited with 0\\n<0>forged\n", "<4>casemate: hello\n"]);
    }

    #[test]
    fn a_stream_of_the_journal_is_ours_by_its_numbers() {
        let own = rustix::fs::fstat(rustix::stdio::stderr()).unwrap();
        assert!(is_standard_error(&format!("{}:{}", own.st_dev, own.st_ino)));
        for other in ["", "1:2", "x", ":"] {
            assert!(!is_standard_error(other), "{other}");
        }
    }
}
