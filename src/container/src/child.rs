//! Child processes that become another program: how they are made, what they report on a pipe before that, how they end.
//!
//! A report is collected as it comes, so a child that writes a part of it and stops holds nothing up.

use casemate_confine::{At, Error};
use casemate_sys::process::{Fork, Namespaces, SingleThreaded, exit_now, fork};
use casemate_sys::signal;
use casemate_wire::MAX_MESSAGE;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

/// A pipe that no program inherits: read end, write end.
pub fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    pipe_with(PipeFlags::CLOEXEC).at("pipe")
}

/// The report of a child, as far as it was read.
#[derive(Debug)]
pub struct Report {
    pipe: OwnedFd,
    received: Vec<u8>,
}

/// Starts a child in these new namespaces and in this cgroup v2 directory. `become_program` gets the pipe for its report; it
/// returns only with a failure, which is written there, and the child ends.
pub fn spawn(
    proof: &SingleThreaded,
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    become_program: impl FnOnce(BorrowedFd<'_>) -> Result<Vec<u8>, casemate_wire::Error>,
) -> Result<(OwnedFd, Report), Error> {
    let (pipe, write) = pipe()?;
    match fork(proof, namespaces, cgroup).at("clone3")? {
        Fork::Parent { pidfd, .. } => Ok((pidfd, Report { pipe, received: Vec::new() })),
        Fork::Child => {
            if let Ok(bytes) = become_program(write.as_fd()) {
                // Fails only when the helper is gone; the exit status says the rest.
                let _ = rustix::io::write(&write, &bytes);
            }
            exit_now(127)
        }
    }
}

impl Report {
    /// Reads what is available. Returns the whole report at the end of the pipe or above [`MAX_MESSAGE`], else `None`.
    pub fn collect(&mut self) -> Option<&[u8]> {
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.pipe, &mut buffer) {
            Ok(count @ 1..) => self.received.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => return Some(&self.received),
        }
        (self.received.len() > MAX_MESSAGE).then_some(&self.received)
    }
}

impl AsFd for Report {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Ends a child, and with it all of its pid namespace where it is the first process of one.
pub fn kill(child: &OwnedFd) -> Result<(), Error> {
    signal(child, signal::KILL)
}

/// Sends a signal. A child that has ended is no error.
pub fn signal(child: &OwnedFd, number: u8) -> Result<(), Error> {
    match signal::send(child.as_fd(), number) {
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(()),
        other => other.at(format_args!("signal {number}")),
    }
}

/// How a child ended; `None` while it has not.
pub fn reap(child: &OwnedFd) -> Option<WaitIdStatus> {
    waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).ok()?
}

/// Ends a child and waits for it. It waits for nothing but the kernel, so this is short.
pub fn end(child: &OwnedFd) {
    let _ = kill(child);
    let _ = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED));
}

/// Exit code and signal of a child that has ended: the status, or 128 and the signal.
pub fn exit_code(status: WaitIdStatus) -> (u8, Option<u8>) {
    let signal = status.terminating_signal().and_then(|signal| u8::try_from(signal).ok());
    let code = match (status.exit_status(), signal) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, signal) => signal.unwrap_or(0).saturating_add(128),
    };
    (code, signal)
}

/// Nanoseconds of CLOCK_REALTIME.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
