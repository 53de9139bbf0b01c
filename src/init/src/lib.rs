//! casemate-init: pid 1 of a container with `init = true`. Starts the payload, forwards signals to it and reaps orphaned processes.
//!
//! It is executed at the end of the container setup, with the ids, capabilities, Landlock rules and seccomp filters of the payload, and
//! has no access that the payload lacks.
#![forbid(unsafe_code)]

use casemate_sys::exec::{self, Strings};
use casemate_sys::process::{SingleThreaded, exit_now, fork_plain};
use casemate_sys::signal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions, kill_process, set_dumpable_behavior, wait};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitCode;

/// Signals that are forwarded to the payload.
const FORWARDED: [u8; 8] =
    [signal::HUP, signal::INT, signal::QUIT, signal::USR1, signal::USR2, signal::TERM, signal::CONT, signal::WINCH];

/// The program: `casemate-init PROGRAM [ARGUMENT ...]`.
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("casemate-init: {message}\n").as_bytes());
            ExitCode::from(127)
        }
    }
}

fn run() -> Result<u8, String> {
    let argv: Vec<Vec<u8>> = std::env::args_os().skip(1).map(OsStringExt::into_vec).collect();
    if argv.is_empty() {
        return Err("usage: casemate-init PROGRAM [ARGUMENT ...]".into());
    }
    // The payload has the ids of this process: through /proc/1/exe it could open this file of the host, through /proc/1/mem change
    // this process. The payload itself is dumpable again after its execve.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| format!("dumpable: {error}"))?;
    let proof = SingleThreaded::prove().map_err(|error| format!("threads: {error}"))?;
    let mut watched = FORWARDED.to_vec();
    watched.push(signal::CHLD);
    let signals = signal::descriptor(&watched).map_err(|error| format!("signals: {error}"))?;
    let Some(child) = fork_plain(&proof).map_err(|error| format!("fork: {error}"))? else {
        signal::reset_all();
        exit_now(payload(&argv))
    };
    loop {
        match poll(&mut [PollFd::new(&signals, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(format!("poll: {errno}")),
        }
        while let Some(number) = signal::read(signals.as_fd()).map_err(|error| format!("signals: {error}"))? {
            if number == signal::CHLD {
                if let Some(code) = reap(child) {
                    return Ok(code);
                }
            } else if let (Some(pid), Some(signal)) = (Pid::from_raw(child), Signal::from_named_raw(number.into())) {
                // Fails if the payload has just ended; SIGCHLD then follows.
                let _ = kill_process(pid, signal);
            }
        }
    }
}

/// Reaps every process that has ended. Returns the exit status once the payload has ended: its own, or 128 + signal number.
fn reap(child: i32) -> Option<u8> {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == child {
            let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| signal + 128));
            return Some(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX));
        }
    }
    None
}

/// Executes the payload. Returns only on failure, with the exit status that a shell gives: 126 not executable, 127 not found.
fn payload(argv: &[Vec<u8>]) -> u8 {
    let env: Vec<Vec<u8>> =
        std::env::vars_os().map(|(key, value)| [key.as_bytes(), b"=", value.as_bytes()].concat()).collect();
    let path = env.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
    let (Ok(arguments), Ok(environment), Some(program)) = (Strings::new(argv), Strings::new(&env), argv.first()) else {
        return 127;
    };
    let errno = exec::search(program, path, &arguments, &environment);
    let name = String::from_utf8_lossy(program);
    let text = format!("casemate-init: {}: not found, or not executable\n", name.escape_debug());
    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
    if errno == Errno::ACCESS { 126 } else { 127 }
}
