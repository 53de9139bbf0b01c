//! The manager's own log, a logger of the `log` facade. The field `container` names the container of a record.
//!
//! A record goes to the host log that the file names, and as a line to standard error: in the foreground always, in a service if there
//! is no host log. After [`buffer_lines`] the lines for standard error are buffered, for a writer that does not wait.

use super::forwarder::{CONTAINER, Forwarder, HostLog};
use super::record::Record;
use casemate_error::escaped;
use log::kv::Key;
use log::{Level, LevelFilter, Log};
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

static LOGGER: ManagerLog =
    ManagerLog(Mutex::new(State { host: None, to_stderr: true, with_priority: false, buffered: None }));

#[derive(Debug)]
struct ManagerLog(Mutex<State>);

#[derive(Debug)]
struct State {
    host: Option<Forwarder>,
    /// Whether lines go to standard error.
    to_stderr: bool,
    /// Whether these lines begin with a priority.
    with_priority: bool,
    /// Lines for standard error since [`buffer_lines`].
    buffered: Option<Vec<String>>,
}

/// Opens the log, or changes where it goes: to this host log, and to standard error if `to_stderr` or without a host log.
pub fn open(host: Option<Forwarder>, to_stderr: bool) {
    let mut state = LOGGER.state();
    state.with_priority = std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_standard_error(&stream));
    state.to_stderr = to_stderr || host.is_none();
    state.host = host;
    drop(state);
    // Fails on the second call only, and then changes nothing.
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// The host log that it goes to.
pub fn host_log() -> Option<HostLog> {
    LOGGER.state().host.as_ref().map(Forwarder::kind)
}

/// Buffers lines for standard error until [`take_lines`] or [`unbuffer`].
pub fn buffer_lines() {
    LOGGER.state().buffered.get_or_insert_default();
}

/// The buffered lines.
pub fn take_lines() -> Vec<String> {
    LOGGER.state().buffered.as_mut().map(std::mem::take).unwrap_or_default()
}

/// Writes the buffered lines to standard error, and from now on every line at once.
pub fn unbuffer() {
    for line in LOGGER.state().buffered.take().unwrap_or_default() {
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

impl ManagerLog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for ManagerLog {
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
        let priority = priority(level);
        let text = escaped(text);
        if let Some(host) = &mut self.host {
            let field = container.map(|name| (CONTAINER, name));
            host.put(&Record { identifier: "casemate", priority, fields: field.as_slice(), text: text.as_bytes() });
        }
        if !self.to_stderr {
            return;
        }
        let prefix = if self.with_priority { format!("<{priority}>") } else { String::new() };
        let line = format!("{prefix}casemate: {text}\n");
        match &mut self.buffered {
            Some(lines) => lines.push(line),
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
/// priorities are parsed.
fn is_standard_error(stream: &str) -> bool {
    let found = rustix::fs::fstat(rustix::stdio::stderr());
    found.is_ok_and(|found| stream == format!("{}:{}", found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_29_record_is_one_line_with_a_priority_for_the_journal() {
        let mut state = State { host: None, to_stderr: true, with_priority: false, buffered: Some(Vec::new()) };
        state.record(Level::Info, Some("web"), "web: exited with 0\n<0>forged");
        state.with_priority = true;
        state.record(Level::Warn, None, "hello");
        state.to_stderr = false;
        state.record(Level::Error, None, "not shown");
        assert_eq!(state.buffered.unwrap(), ["casemate: web: exited with 0\\n<0>forged\n", "<4>casemate: hello\n"]);
    }

    #[test]
    fn journal_stream_is_compared_by_device_and_inode() {
        let own = rustix::fs::fstat(rustix::stdio::stderr()).unwrap();
        assert!(is_standard_error(&format!("{}:{}", own.st_dev, own.st_ino)));
        for other in ["", "1:2", "x", ":"] {
            assert!(!is_standard_error(other), "{other}");
        }
    }
}
