//! The verbs that only ask the running manager: stop, start, restart, wait, down, reload, version.

use super::image::text::print;
use super::{Code, Error, Global, escaped};
use casemate_engine::control::{Error as ControlError, Request, Response, Responses, send};
use casemate_engine::launch;
use casemate_engine::notify::Notifier;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::Duration;

/// Asks the manager of this instance. What it answers is read as its own user: it may have been taken over.
pub fn manager(global: &Global, request: &Request) -> Result<Responses, Error> {
    let directories = global.directories()?;
    let answers =
        send(&directories.control_socket(), request).map_err(|error| failed(&directories.run.display(), error))?;
    launch::switch_to_manager_user()?;
    Ok(answers)
}

/// What a failed request means.
pub fn failed(run: &dyn std::fmt::Display, error: ControlError) -> Error {
    match error {
        ControlError::NotRunning => Error::new(Code::Failed, run, "connect", "no manager runs here")
            .remedy("`casemate up FILE` starts one; --run-dir names another"),
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
            Error::new(Code::Failed, run, "ask", error).remedy("it answers to root and to the user who started it")
        }
        ControlError::Io(_) | ControlError::InvalidResponse(_) => Error::new(Code::Failed, run, "ask", error),
    }
}

fn done(global: &Global, request: &Request) -> Result<ExitCode, Error> {
    let run = global.directories()?.run;
    let mut answers = manager(global, request)?;
    answers.next_response().map_err(|error| failed(&run.display(), error))?;
    Ok(ExitCode::SUCCESS)
}

/// Containers by name.
#[derive(Debug, clap::Args)]
pub struct Names {
    /// The containers
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Names {
    /// `casemate stop`.
    pub(super) fn stop(&self, global: &Global) -> Result<ExitCode, Error> {
        done(global, &Request::Stop { names: self.names.clone() })
    }

    /// `casemate start`.
    pub(super) fn start(&self, global: &Global) -> Result<ExitCode, Error> {
        done(global, &Request::Start { names: self.names.clone() })
    }

    /// `casemate restart`.
    pub(super) fn restart(&self, global: &Global) -> Result<ExitCode, Error> {
        done(global, &Request::Restart { names: self.names.clone() })
    }

    /// `casemate wait`: names and exit codes, a line each, in the order that was asked; `-` for one that never ran.
    pub(super) fn wait(&self, global: &Global) -> Result<ExitCode, Error> {
        let run = global.directories()?.run;
        let mut answers = manager(global, &Request::Wait { names: self.names.clone() })?;
        let mut codes: BTreeMap<String, Option<u8>> = BTreeMap::new();
        while let Response::Ended { name, code } =
            answers.next_response().map_err(|error| failed(&run.display(), error))?
        {
            codes.insert(name, code);
        }
        let code = |name: &String| codes.get(name).copied().flatten();
        let line = |name| format!("{name} {}\n", code(name).map_or("-".to_owned(), |code| code.to_string()));
        print(&self.names.iter().map(line).collect::<String>())?;
        let good = self.names.iter().all(|name| code(name) == Some(0));
        Ok(if good { ExitCode::SUCCESS } else { Code::Failed.into() })
    }
}

/// `casemate down`.
pub(super) fn down(global: &Global) -> Result<ExitCode, Error> {
    done(global, &Request::Down {})
}

/// `casemate reload`.
pub(super) fn reload(global: &Global) -> Result<ExitCode, Error> {
    done(global, &Request::Reload {})
}

/// Between two looks whether a manager that is on its way in listens.
const PAUSE: Duration = Duration::from_millis(200);

/// As [`down`], and tells the service manager meanwhile; `false` when no manager runs. One that unpacks before it listens, or is
/// about to go, is waited for: nobody else could take its place.
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
                std::thread::sleep(PAUSE);
            }
            Err(ControlError::NotRunning) => return Ok(false),
            answers => {
                return answers.map_err(failed)?.with_keepalive(notifier).next_response().map(|_| true).map_err(failed);
            }
        }
    }
}

/// `casemate version`.
pub(super) fn version(global: &Global) -> Result<ExitCode, Error> {
    print(&format!("casemate {}\n", env!("CARGO_PKG_VERSION")))?;
    let running = manager(global, &Request::Version {}).ok().and_then(|mut answers| answers.next_response().ok());
    if let Some(Response::Version { version }) = running {
        print(&format!("manager {}, running\n", escaped(&version)))?;
    }
    Ok(ExitCode::SUCCESS)
}
