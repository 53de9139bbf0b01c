//! `casemate ps`.

use super::print::{self, column};
use super::{Code, Error, Global, control};
use casemate_engine::control::{Request, Response, Status};
use std::process::ExitCode;

const EXAMPLE: &str = "Example:\n  casemate ps --json | jq '.[] | select(.state != \"running\") | .name'";

/// List the containers of the running manager
///
/// STATE is waiting, running, stopping, restarting, completed (restart policy "no" or "on-failure", exit code 0), exited, stopped or
/// failed, with the exit code of the last run in parentheses. PID is the container's first process as the host numbers it. --json also has the pinned digest, the start time and the
/// reason of a failed start.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Ps {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Ps {
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Error> {
        let run = global.directories()?.run;
        let mut responses = control::request(global, &Request::Ps {})?;
        let response = responses.next_response().map_err(|error| control::failed(&run.display(), error))?;
        let Response::Containers { containers } = response else {
            return Err(Error::new(Code::Failed, run.display(), "request", "the manager sent another response"));
        };
        if self.json { print::json(&containers) } else { print::text(&table(&containers)) }?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The table, at most 80 columns wide.
fn table(containers: &[Status]) -> String {
    let mut lines =
        format!("{:<16} {:<13} {:>7} {:>7} {:>8}  {}\n", "NAME", "STATE", "PID", "UPTIME", "RESTARTS", "IMAGE");
    for container in containers {
        let state = match container.exit_code {
            Some(code) if container.started.is_none() => format!("{} ({code})", container.state),
            _ => container.state.clone(),
        };
        let pid = container.pid.map_or("-".to_owned(), |pid| pid.to_string());
        let uptime = container.uptime.map_or("-".to_owned(), duration);
        // Without the digest, which `--json` has.
        let image = container.image.split('@').next().unwrap_or_default();
        let row = format!(
            "{} {} {pid:>7} {uptime:>7} {:>8}  {}",
            column(&container.name, 16),
            column(&state, 13),
            container.restarts,
            column(image, 23)
        );
        lines.push_str(row.trim_end());
        lines.push('\n');
    }
    lines
}

/// Seconds in the two largest units that are not zero.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_at_most_80_columns_wide() {
        let status = Status {
            name: "a-name-that-is-longer-than-its-column".into(),
            state: "restarting".into(),
            pid: Some(4_194_304),
            started: Some("2026-01-31T12:00:00.000000000Z".into()),
            uptime: Some(400 * 86_400),
            restarts: 99_999,
            image: format!("registry.site.example:5000/{}:1@sha256:00", "x".repeat(50)),
            exit_code: Some(137),
            oom_kills: None,
            failure: None,
        };
        let ended = Status { started: None, uptime: None, pid: None, state: "completed".into(), ..status.clone() };
        let table = table(&[status, ended]);
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        assert!(table.contains("400d00h"), "{table}");
    }

    #[test]
    fn durations_have_at_most_two_units() {
        let shown = [59, 60, 3599, 3600, 86_399, 86_400].map(duration);
        assert_eq!(shown, ["59s", "1m00s", "59m59s", "1h00m", "23h59m", "1d00h"]);
    }
}
