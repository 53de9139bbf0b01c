//! What a child says of itself on a pipe before it becomes another program or ends. It is collected as it comes, so a child
//! that says half of it and then nothing holds up nobody.

use casemate_confine::{At, Fault};
use casemate_sys::process::{Fork, Namespaces, SingleThreaded, exit_now, fork};
use casemate_sys::signal;
use casemate_wire::{Error, MAX_MESSAGE};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A pipe that no program inherits: read end, write end.
pub fn pipe() -> Result<(OwnedFd, OwnedFd), Fault> {
    pipe_with(PipeFlags::CLOEXEC).at("pipe")
}

/// What a child says, as far as it was read.
pub struct Outcome {
    pipe: OwnedFd,
    said: Vec<u8>,
}

/// Starts a child as the first process of new namespaces, to become another program. What `become_it` gives back is said on the
/// pipe that it was handed, and the child ends.
pub fn spawn(
    proof: &SingleThreaded,
    cgroup: Option<BorrowedFd<'_>>,
    become_it: impl FnOnce(BorrowedFd<'_>) -> Result<Vec<u8>, Error>,
) -> Result<(OwnedFd, Outcome), Fault> {
    let (pipe, write) = pipe()?;
    match fork(proof, Namespaces::ROOM, cgroup).at("clone3 with new namespaces")? {
        Fork::Parent { pidfd, .. } => Ok((pidfd, Outcome { pipe, said: Vec::new() })),
        Fork::Child => {
            if let Ok(bytes) = become_it(write.as_fd()) {
                // Nobody to tell when the helper is gone; the exit status says the rest.
                let _ = rustix::io::write(&write, &bytes);
            }
            exit_now(127)
        }
    }
}

impl Outcome {
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
    signal(child, signal::KILL)
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
