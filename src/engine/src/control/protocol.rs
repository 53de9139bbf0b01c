//! Requests and responses of the control socket. None of them can start anything that the file does not contain (threat row 32).

use serde::{Deserialize, Serialize};

/// The longest request, its line feed included.
pub const MAX_REQUEST: usize = 64 * 1024;

/// A request of a verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Response: `Containers`.
    Ps {},
    /// Response: `Records`, then the log records themselves, to the end of the connection.
    Logs {
        /// The container.
        name: String,
        /// Follow the log until the container has ended for good.
        #[serde(default)]
        follow: bool,
        /// Only this many of the records that are kept.
        #[serde(default)]
        tail: Option<u64>,
    },
    /// Response after all have ended: `Done`.
    Stop {
        /// The containers.
        names: Vec<String>,
    },
    /// Response after all run: `Done`.
    Start {
        /// The containers.
        names: Vec<String>,
    },
    /// Response after all run again: `Done`.
    Restart {
        /// The containers.
        names: Vec<String>,
    },
    /// Responses: `Ended` for each container when it has ended, then `Done`.
    Wait {
        /// The containers.
        names: Vec<String>,
    },
    /// Stops all containers in reverse order, and then the manager. Response after all have ended: `Done`.
    Down {},
    /// Reads the file again and applies it. Response after its containers run: `Done`.
    Reload {},
    /// Response: `Version`.
    Version {},
}

/// A response of the manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    /// The request is complete.
    Done {},
    /// The containers, in file order.
    Containers {
        /// Their status.
        containers: Vec<Status>,
    },
    /// Log records follow, in the format of the log files.
    Records {},
    /// A container has ended.
    Ended {
        /// Its name.
        name: String,
        /// Its exit code; none if it never ran.
        code: Option<u8>,
    },
    /// The manager's version.
    Version {
        /// As in `casemate --version`.
        version: String,
    },
    /// The request failed.
    Failed {
        /// The reason, in one line.
        reason: String,
        /// The exit code of the verb.
        code: u8,
    },
}

/// One container for `ps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// `waiting`, `running`, `stopping`, `restarting`, `completed`, `exited`, `stopped` or `failed`.
    pub state: String,
    /// Its pid 1 as the host counts it, while it runs.
    pub pid: Option<u32>,
    /// When its payload was executed (RFC 3339), while it runs.
    pub started: Option<String>,
    /// Seconds since `started`.
    pub uptime: Option<u64>,
    /// How often its restart policy has restarted it.
    pub restarts: u32,
    /// The image, as the file pins it.
    pub image: String,
    /// The exit code of its last run.
    pub exit_code: Option<u8>,
    /// Processes that its memory limit killed in its last run.
    pub oom_kills: Option<u64>,
    /// Why its last start failed.
    pub failure: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_and_unknown_requests_are_refused() {
        let parse = serde_json::from_str::<Request>;
        assert_eq!(parse(r#"{"verb":"ps"}"#).unwrap(), Request::Ps {});
        let logs = Request::Logs { name: "a".into(), follow: false, tail: None };
        assert_eq!(parse(r#"{"verb":"logs","name":"a"}"#).unwrap(), logs);
        for bad in [
            "",
            "{}",
            r#"{"verb":"exec","names":[]}"#,
            r#"{"verb":"ps","all":true}"#,
            r#"{"verb":"stop"}"#,
            r#"{"verb":"stop","names":["a"],"names":["b"]}"#,
            r#"{"verb":"ps"} {"verb":"ps"}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
