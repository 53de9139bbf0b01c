//! Requests and responses of the control socket. Nothing here can start what the file does not have (threat row 32).

use serde::{Deserialize, Serialize};

/// The longest request, its line feed included.
pub const MAX_REQUEST: usize = 64 * 1024;

/// What a verb asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Answer: `Containers`.
    Ps {},
    /// Answer: `Records`, and after it the log records themselves, to the end of the connection.
    Logs {
        /// The container.
        name: String,
        /// Go on with what is written from now on, until the container has ended for good.
        #[serde(default)]
        follow: bool,
        /// Only the last so many records of what is there.
        #[serde(default)]
        tail: Option<u64>,
    },
    /// Answer, when all have ended: `Done`.
    Stop {
        /// The containers.
        names: Vec<String>,
    },
    /// Answer, when all run: `Done`.
    Start {
        /// The containers.
        names: Vec<String>,
    },
    /// Answer, when all run again: `Done`.
    Restart {
        /// The containers.
        names: Vec<String>,
    },
    /// Answers: `Ended` for each when it has ended, then `Done`.
    Wait {
        /// The containers.
        names: Vec<String>,
    },
    /// Stops all in reverse order and ends the manager. Answer, when all have ended: `Done`.
    Down {},
    /// Reads the file again. Answer, when it is applied and all of it is up: `Done`.
    Reload {},
    /// Answer: `Version`.
    Version {},
}

/// What the manager answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    /// It was done.
    Done {},
    /// The containers, in file order.
    Containers {
        /// One each.
        containers: Vec<Status>,
    },
    /// Records follow, as they lie in the log files.
    Records {},
    /// A container has ended.
    Ended {
        /// Which.
        name: String,
        /// Its exit code; none if it never ran.
        code: Option<u8>,
    },
    /// The manager's version.
    Version {
        /// As in `casemate --version`.
        version: String,
    },
    /// It was not done.
    Failed {
        /// Why, in one line.
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
    /// Seconds since then.
    pub uptime: Option<u64>,
    /// How often its policy has restarted it.
    pub restarts: u32,
    /// The image, as the file pins it.
    pub image: String,
    /// How it ended last.
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
    fn requests_have_one_reading() {
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
