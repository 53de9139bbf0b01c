//! Events as values. Log lines are one view of them.

use crate::reconcile::AfterExit;
use crate::state::End;
use casemate_spec::signal_name;
use casemate_wire::{Exit, Name};
use log::Level;
use std::fmt;
use std::time::Duration;

/// An event of the manager.
#[derive(Debug, Clone)]
pub enum Event {
    /// An event of one container.
    Container {
        /// Its name.
        name: Name,
        /// The event.
        change: ContainerEvent,
    },
    /// All containers are being stopped.
    Stopping,
    /// The file is being read again.
    Reloading {
        /// The file.
        file: String,
    },
    /// A file was applied.
    Applied {
        /// The digest of its text.
        revision: String,
        /// The file.
        file: String,
    },
    /// A reload failed; the applied file stays.
    NotApplied {
        /// The file.
        file: String,
    },
}

/// An event of one container.
#[derive(Debug, Clone)]
pub enum ContainerEvent {
    /// Its payload was executed.
    Started,
    /// It was started by an earlier manager with the same config, and runs on.
    TakenOver,
    /// Its config has changed.
    Replaced,
    /// The file does not have it.
    Orphaned,
    /// Its start failed.
    StartFailed {
        /// Why.
        reason: String,
        /// The delay before the next try; `None`: no further try.
        retry: Option<Duration>,
    },
    /// It did not stop within its grace period, and was killed.
    Killed {
        /// The stop signal that was sent.
        signal: u8,
        /// The grace period.
        grace: Duration,
        /// Whether its pid 1 is `casemate-init`, which ends by every signal that has no handler.
        init: bool,
    },
    /// It has ended.
    Exited {
        /// The exit status.
        exit: Exit,
        /// What happens next.
        after: AfterExit,
    },
    /// Its log cannot be written.
    LogHeld {
        /// Why.
        reason: String,
    },
    /// Its log is written again.
    LogResumed {
        /// Failed writes.
        failures: u64,
    },
    /// It was stopped while its log could not be written: its last output is lost.
    LogLost,
}

impl Event {
    /// An event of one container.
    pub fn of(name: &Name, change: ContainerEvent) -> Self {
        Self::Container { name: name.clone(), change }
    }

    /// Its log level.
    pub fn level(&self) -> Level {
        match self {
            Self::Container { change, .. } => change.level(),
            Self::Stopping | Self::Reloading { .. } | Self::Applied { .. } => Level::Info,
            Self::NotApplied { .. } => Level::Error,
        }
    }

    /// Logs it.
    pub fn log(&self) {
        match self {
            Self::Container { name, change } => log::log!(change.level(), container:% = name; "{change}"),
            event => log::log!(event.level(), "{event}"),
        }
    }
}

impl ContainerEvent {
    fn level(&self) -> Level {
        match self {
            Self::Exited { after: AfterExit::End(End::GaveUp), .. } => Level::Error,
            Self::Exited { after: AfterExit::End(End::Stopped), .. } => Level::Info,
            Self::Exited { exit, .. } if exit.code == 0 && exit.oom_kills == 0 => Level::Info,
            Self::Exited { .. } | Self::Killed { .. } | Self::LogHeld { .. } => Level::Warn,
            Self::StartFailed { .. } | Self::LogLost => Level::Error,
            Self::Started | Self::TakenOver | Self::Replaced | Self::Orphaned | Self::LogResumed { .. } => Level::Info,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container { change, .. } => change.fmt(f),
            Self::Stopping => f.write_str("stopping all containers in reverse order; a second Ctrl-C kills them"),
            Self::Reloading { file } => write!(f, "reloading {file}"),
            Self::Applied { revision, file } => write!(f, "applied {revision} of {file}"),
            Self::NotApplied { file } => write!(f, "{file}: not applied; the containers run on unchanged"),
        }
    }
}

impl fmt::Display for ContainerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::TakenOver => f.write_str("taken over"),
            Self::Replaced => f.write_str("changed: restarting"),
            Self::Orphaned => f.write_str("not in the file any more: stopping"),
            Self::StartFailed { reason, retry } => {
                write!(f, "start: {reason}")?;
                retry.map_or(Ok(()), |wait| write!(f, "; restart in {} s", wait.as_secs_f32()))
            }
            Self::Killed { signal, grace, init } => {
                write!(f, "did not stop within {} s of {}; sent SIGKILL", grace.as_secs_f32(), signal_name(*signal))?;
                let hint = " (a shell as pid 1 ignores SIGTERM: see `init = true`)";
                f.write_str(if *init { "" } else { hint })
            }
            Self::Exited { exit, after } => {
                match exit.signal {
                    Some(signal) => write!(f, "ended by signal {signal}")?,
                    None => write!(f, "exited with {}", exit.code)?,
                }
                f.write_str(if exit.oom_kills > 0 { ", over its memory limit" } else { "" })?;
                match after {
                    AfterExit::Restart(wait) => write!(f, "; restart in {} s", wait.as_secs_f32()),
                    AfterExit::End(End::GaveUp) => f.write_str("; restarted too often, giving up"),
                    AfterExit::End(_) | AfterExit::Replace => Ok(()),
                }
            }
            Self::LogHeld { reason } => {
                write!(f, "cannot write its log: {reason}; its output is held, nothing is lost")
            }
            Self::LogResumed { failures } => write!(f, "log writable again after {failures} failed writes"),
            Self::LogLost => f.write_str("cannot write its log: its last output is lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_event_shows_signal_memory_limit_and_restart() {
        let exit = Exit { code: 137, signal: Some(9), oom_kills: 1, at: 0 };
        let after = AfterExit::Restart(Duration::from_millis(1500));
        let event = ContainerEvent::Exited { exit, after };
        assert_eq!(event.to_string(), "ended by signal 9, over its memory limit; restart in 1.5 s");
        assert_eq!(event.level(), Level::Warn);
        let stopped = ContainerEvent::Exited { exit, after: AfterExit::End(End::Stopped) };
        assert_eq!(stopped.level(), Level::Info);
    }

    #[test]
    fn kill_event_shows_signal_grace_period_and_hint() {
        let event = ContainerEvent::Killed { signal: 15, grace: Duration::from_secs(10), init: false };
        let text = event.to_string();
        assert!(text.starts_with("did not stop within 10 s of SIGTERM; sent SIGKILL (a shell"), "{text}");
    }
}
