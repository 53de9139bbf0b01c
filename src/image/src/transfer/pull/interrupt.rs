//! Interrupting a pull. The caller asks for it by a descriptor that becomes readable (a signalfd).

use crate::error::Error;
use crate::registry::Connection;
use crate::store::{Store, Writer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::net::Shutdown;
use rustix::pipe::PipeFlags;
use std::time::Duration;

/// How often the descriptor is polled by code that waits for something else.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Whether the caller asks to stop.
pub(super) fn is_requested(stop: BorrowedFd<'_>) -> bool {
    is_requested_within(stop, Duration::ZERO)
}

fn is_requested_within(stop: BorrowedFd<'_>, time: Duration) -> bool {
    let mut ready = [PollFd::new(&stop, PollFlags::IN)];
    let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
    matches!(poll(&mut ready, Some(&time)), Ok(count) if count > 0)
}

/// Waits for the right to change the store. `waiting` is called when another process has it.
pub fn lock<'a>(store: &'a Store, stop: BorrowedFd<'_>, waiting: impl FnOnce()) -> Result<Writer<'a>, Error> {
    let mut waiting = Some(waiting);
    loop {
        if let Some(writer) = store.try_lock()? {
            return Ok(writer);
        }
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        if is_requested_within(stop, POLL_INTERVAL) {
            return Err(Error::Interrupted);
        }
    }
}

/// Runs transfers on a connection. When the caller asks to stop, the connection is shut down: casemate-fetch notices at once, and
/// closes its end of the pipe.
pub(super) fn run_interruptibly<T>(
    connection: &mut Connection,
    stop: BorrowedFd<'_>,
    work: impl FnOnce(&mut Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    let socket = connection.descriptor().map_err(|error| Error::Fetch {
        repository: "casemate-fetch".to_owned(),
        object: "connection".to_owned(),
        error,
    })?;
    let (done, working) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::errno("make", "a pipe"))?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Nothing is written into the pipe: its other end is closed when the work is done.
            let mut ready = [PollFd::new(&stop, PollFlags::IN), PollFd::new(&done, PollFlags::empty())];
            let _ = rustix::io::retry_on_intr(|| poll(&mut ready, None));
            if is_requested(stop) {
                let _ = rustix::net::shutdown(&socket, Shutdown::Both);
            }
        });
        let outcome = work(connection);
        drop(working);
        outcome.map_err(|error| if is_requested(stop) { Error::Interrupted } else { error })
    })
}
