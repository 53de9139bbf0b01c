//! Requests to the running manager, and the verbs that are one request: stop, start, restart, wait, down, reload, version.

use super::{Code, Error, Global, escaped, print};
use casemate_engine::control::{Error as ControlError, Request, Response, Responses, send};
use casemate_engine::launch;
use casemate_engine::notify::Notifier;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::Duration;

/// Sends a request to the manager of this instance, then changes to the manager's user for good: a compromised manager must not reach a
/// parser that runs as root.
pub fn request(global: &Global, request: &Request) -> Result<Responses, Error> {
    let directories = global.directories()?;
    let responses =
        send(&directories.control_socket(), request).map_err(|error| failed(&directories.run.display(), error))?;
    launch::switch_to_manager_user()?;
    Ok(responses)
}

/// The error that a verb prints when a request failed.
pub fn failed(run: &dyn std::fmt::Display, error: ControlError) -> Error {
    match error {
        ControlError::NotRunning => Error::new(Code::Failed, run, "connect", "no manager runs")
            .remedy("`casemate up FILE` starts one; --run-dir selects another instance"),
        ControlError::Refused { reason, code } => {
            let code = match code {
                2 => Code::Usage,
                3 => Code::Spec,
                4 => Code::Verification,
                5 => Code::NotEnforceable,
                _ => Code::Failed,
            };
            Error::from_display(code, reason)
        }
        ControlError::Io(ref io) if io.kind() == ErrorKind::PermissionDenied => {
            Error::new(Code::Failed, run, "request", error).remedy("run this as root or as the manager's user")
        }
        ControlError::Io(_) | ControlError::InvalidResponse(_) => Error::new(Code::Failed, run, "request", error),
    }
}

/// Sends a request and waits for its one response.
fn request_done(global: &Global, done: &Request) -> Result<ExitCode, Error> {
    let run = global.directories()?.run;
    let mut responses = request(global, done)?;
    responses.next_response().map_err(|error| failed(&run.display(), error))?;
    Ok(ExitCode::SUCCESS)
}

/// Containers by name.
#[derive(Debug, clap::Args)]
pub struct Names {
    /// Containers, by the names that they have in the file
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Names {
    /// `casemate stop`.
    pub(super) fn stop(&self, global: &Global) -> Result<ExitCode, Error> {
        request_done(global, &Request::Stop { names: self.names.clone() })
    }

    /// `casemate start`.
    pub(super) fn start(&self, global: &Global) -> Result<ExitCode, Error> {
        request_done(global, &Request::Start { names: self.names.clone() })
    }

    /// `casemate restart`.
    pub(super) fn restart(&self, global: &Global) -> Result<ExitCode, Error> {
        request_done(global, &Request::Restart { names: self.names.clone() })
    }

    /// `casemate wait`: a line for each container in the order of the arguments.
    pub(super) fn wait(&self, global: &Global) -> Result<ExitCode, Error> {
        let run = global.directories()?.run;
        let mut responses = request(global, &Request::Wait { names: self.names.clone() })?;
        let mut next = || responses.next_response().map_err(|error| failed(&run.display(), error));
        let mut codes: BTreeMap<String, Option<u8>> = BTreeMap::new();
        while let Response::Ended { name, code } = next()? {
            codes.insert(name, code);
        }
        let code = |name: &String| codes.get(name).copied().flatten();
        let line = |name| format!("{name} {}\n", code(name).map_or("-".to_owned(), |code| code.to_string()));
        print::text(&self.names.iter().map(line).collect::<String>())?;
        let succeeded = self.names.iter().all(|name| code(name) == Some(0));
        Ok(if succeeded { ExitCode::SUCCESS } else { Code::Failed.into() })
    }
}

/// `casemate down`.
pub(super) fn down(global: &Global) -> Result<ExitCode, Error> {
    request_done(global, &Request::Down {})
}

/// `casemate reload`.
pub(super) fn reload(global: &Global) -> Result<ExitCode, Error> {
    request_done(global, &Request::Reload {})
}

/// The interval at which `supervise --stop` tries to connect to a manager that does not listen yet.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// As [`down`], with watchdog pings to systemd while it waits. `false`: no manager runs. A manager that holds its lock but does not
/// listen (it unpacks before it listens, or is about to exit) is waited for: no other manager could take the lock.
pub(super) fn down_if_running(global: &Global) -> Result<bool, Error> {
    let notifier =
        Notifier::from_environment().map_err(|errno| Error::new(Code::Failed, "NOTIFY_SOCKET", "connect", errno))?;
    let directories = global.directories()?;
    let run = directories.run.display();
    let failed = |error| failed(&run, error);
    loop {
        match send(&directories.control_socket(), &Request::Down {}) {
            Err(ControlError::NotRunning) if launch::is_supervised(&directories)? => {
                notifier.ping();
                std::thread::sleep(RETRY_INTERVAL);
            }
            Err(ControlError::NotRunning) => return Ok(false),
            responses => {
                let mut responses = responses.map_err(failed)?.with_keepalive(notifier);
                return responses.next_response().map(|_| true).map_err(failed);
            }
        }
    }
}

/// `casemate version`.
pub(super) fn version(global: &Global) -> Result<ExitCode, Error> {
    print::text(&format!("casemate {}\n", env!("CARGO_PKG_VERSION")))?;
    let response = request(global, &Request::Version {}).ok().and_then(|mut responses| responses.next_response().ok());
    if let Some(Response::Version { version }) = response {
        print::text(&format!("manager {} (running)\n", escaped(&version)))?;
    }
    Ok(ExitCode::SUCCESS)
}
