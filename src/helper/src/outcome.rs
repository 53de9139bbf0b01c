//! What a child says of itself on a pipe before it becomes another program or ends. It is collected as it comes, so a child
//! that says half of it and then nothing holds up nobody.

use casemate_confine::{At, Fault};
use casemate_sys::signal;
use casemate_wire::MAX_MESSAGE;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, waitid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A pipe that no program inherits: read end, write end.
pub fn pipe() -> Result<(OwnedFd, OwnedFd), Fault> {
    pipe_with(PipeFlags::CLOEXEC).at("pipe")
}

/// The reading side.
pub struct Outcome {
    pipe: OwnedFd,
    said: Vec<u8>,
}

impl Outcome {
    /// Reads from here.
    pub fn new(pipe: OwnedFd) -> Self {
        Self { pipe, said: Vec::new() }
    }

    /// Takes what is there, when the descriptor is ready; all that was said once the pipe is at its end, or holds too much.
    pub fn collect(&mut self) -> Option<&[u8]> {
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.pipe, &mut buffer) {
            Ok(count @ 1..) => self.said.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => return Some(&self.said),
        }
        (self.said.len() > MAX_MESSAGE).then_some(&self.said)
    }
}

impl AsFd for Outcome {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Ends a child, and with it all of its pid namespace where it is the first process of one.
pub fn kill(child: &OwnedFd) -> Result<(), Fault> {
    signal(child, Signal::KILL.as_raw().try_into().unwrap_or(u8::MAX))
}

/// Sends a signal; a child that has ended wants none.
pub fn signal(child: &OwnedFd, number: u8) -> Result<(), Fault> {
    match signal::send(child.as_fd(), number) {
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(()),
        other => other.at(format_args!("signal {number}")),
    }
}

/// How a child ended; `None` while it has not.
pub fn reap(child: &OwnedFd) -> Option<WaitIdStatus> {
    waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).ok()?
}
