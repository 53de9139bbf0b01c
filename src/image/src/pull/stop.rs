//! The caller's wish to stop, which comes as a readable descriptor, in places that wait for something else.

use crate::error::Error;
use crate::registry::Lane;
use crate::store::{Store, Writer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::net::Shutdown;
use rustix::pipe::PipeFlags;
use std::time::Duration;

/// How soon a wish to stop is seen where nothing wakes who waits.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// Whether the caller is told to stop.
pub(super) fn is_told(stop: BorrowedFd<'_>) -> bool {
    is_told_within(stop, Duration::ZERO)
}

fn is_told_within(stop: BorrowedFd<'_>, time: Duration) -> bool {
    let mut ready = [PollFd::new(&stop, PollFlags::IN)];
    let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
    matches!(poll(&mut ready, Some(&time)), Ok(count) if count > 0)
}

/// Waits for the right to change the store. `waiting` is called when somebody else has it.
pub fn lock<'a>(store: &'a Store, stop: BorrowedFd<'_>, waiting: impl FnOnce()) -> Result<Writer<'a>, Error> {
    let mut waiting = Some(waiting);
    loop {
        if let Some(writer) = store.try_lock()? {
            return Ok(writer);
        }
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        if is_told_within(stop, LOOK) {
            return Err(Error::Interrupted);
        }
    }
}

/// Does something with the first lane. When the caller is told to stop, its connection is shut down: casemate-fetch sees it at
/// once, and its end of the pipe closes.
pub(super) fn unless_told<T>(
    lane: &mut Lane,
    stop: BorrowedFd<'_>,
    work: impl FnOnce(&mut Lane) -> Result<T, Error>,
) -> Result<T, Error> {
    let connection = lane.connection().map_err(|error| Error::Fetch {
        place: "casemate-fetch".to_owned(),
        object: "connection".to_owned(),
        error,
    })?;
    let (done, doing) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::errno("make", "a pipe"))?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Nothing is written into the pipe: it is closed when the work is done.
            let mut ready = [PollFd::new(&stop, PollFlags::IN), PollFd::new(&done, PollFlags::empty())];
            let _ = rustix::io::retry_on_intr(|| poll(&mut ready, None));
            if is_told(stop) {
                let _ = rustix::net::shutdown(&connection, Shutdown::Both);
            }
        });
        let outcome = work(lane);
        drop(doing);
        outcome.map_err(|error| if is_told(stop) { Error::Interrupted } else { error })
    })
}
