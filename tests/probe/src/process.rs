//! Processes made without exec: the little of libc that the probe needs, each call wrapped once.

use crate::answer::Answer;
use std::io::{Error, Result};

/// Which side of a fork this is.
pub enum Fork {
    /// The new process.
    Child,
    /// The old one, with the new one's id.
    Parent(i32),
}

/// Makes a copy of this process.
pub fn fork() -> Result<Fork> {
    // SAFETY: the probe has one thread, so the child inherits no held lock.
    match unsafe { libc::fork() } {
        -1 => Err(Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Ends this process at once, running nothing that was inherited from the parent.
pub fn leave(status: i32) -> ! {
    // SAFETY: _exit takes a number, touches no memory of ours and does not return.
    unsafe { libc::_exit(status) }
}

/// Waits for one child; -1 for any. Gives its id and its wait status.
pub fn wait(pid: i32) -> Result<(i32, i32)> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a live c_int that waitpid may write for the time of the call.
        match unsafe { libc::waitpid(pid, &raw mut status, 0) } {
            -1 if Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            -1 => return Err(Error::last_os_error()),
            pid => return Ok((pid, status)),
        }
    }
}

/// Runs `attempt` in a child of its own, so that being killed for it is an answer and what it changed is gone.
/// The errno travels in the exit status: Linux's errnos stay below 134, and 255 stands for success.
pub fn isolated(attempt: impl FnOnce() -> Result<()>) -> Answer {
    match fork() {
        Err(error) => Answer::Untried(error.raw_os_error().unwrap_or(0)),
        Ok(Fork::Child) => match attempt() {
            Ok(()) => leave(255),
            Err(error) => leave(error.raw_os_error().unwrap_or(0)),
        },
        Ok(Fork::Parent(pid)) => match wait(pid) {
            Err(error) => Answer::Untried(error.raw_os_error().unwrap_or(0)),
            Ok((_, status)) if libc::WIFSIGNALED(status) => Answer::Killed(libc::WTERMSIG(status)),
            Ok((_, status)) => match libc::WEXITSTATUS(status) {
                255 => Answer::Worked,
                errno => Answer::Refused(errno),
            },
        },
    }
}

/// What becomes of a signal.
#[derive(Clone, Copy)]
pub enum Disposition {
    /// Nothing.
    Ignore,
    /// The process ends with 0.
    Leave,
}

extern "C" fn leave_well(_signal: i32) {
    leave(0)
}

/// Sets what becomes of a signal.
pub fn on_signal(signal: i32, what: Disposition) {
    let handler = match what {
        Disposition::Ignore => libc::SIG_IGN,
        Disposition::Leave => leave_well as extern "C" fn(i32) as libc::sighandler_t,
    };
    // SAFETY: the handler is SIG_IGN or a function that only calls _exit, which is safe in a signal handler.
    unsafe { libc::signal(signal, handler) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_isolated_attempt_tells_success_errno_and_signal_apart() {
        assert_eq!(isolated(|| Ok(())), Answer::Worked);
        assert_eq!(isolated(|| Err(Error::from_raw_os_error(libc::ENOSYS))), Answer::Refused(libc::ENOSYS));
        let suicide = || {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
            Ok(())
        };
        assert_eq!(isolated(suicide), Answer::Killed(libc::SIGKILL));
    }
}
