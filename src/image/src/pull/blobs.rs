//! Several blobs at a time: one thread a lane takes the next task, and whoever unpacks waits for the blob that it needs.
//!
//! A failure ends all: the other lanes' connections are shut down, and what they have stays as partial blobs.

use super::documents::Trouble;
use super::rate::Rate;
use super::stop::{LOOK, is_told};
use super::{Progress, Wanted};
use crate::blobs::Blobs;
use crate::error::Error;
use crate::registry::{Get, Lane, Object};
use casemate_wire::Digest;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::net::Shutdown;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// One blob to bring.
#[derive(Debug)]
pub(super) struct Task {
    /// Of which image.
    pub(super) wanted: Wanted,
    /// Which.
    pub(super) blob: Digest,
    /// Its bytes.
    pub(super) size: u64,
}

/// Everybody who brings blobs, and how far they are.
pub(super) struct Crew<'a> {
    blobs: &'a Blobs,
    rate: &'a Rate,
    progress: &'a dyn Progress,
    board: Mutex<Board>,
    news: Condvar,
}

struct Board {
    tasks: VecDeque<Task>,
    /// Blobs that are on their way: `None`; or here: the bytes that came for them.
    known: BTreeMap<Digest, Option<u64>>,
    error: Option<Error>,
    over: bool,
}

impl<'a> Crew<'a> {
    pub(super) fn new(blobs: &'a Blobs, tasks: Vec<Task>, rate: &'a Rate, progress: &'a dyn Progress) -> Self {
        let known = tasks.iter().map(|task| (task.blob, None)).collect();
        let board = Board { tasks: tasks.into(), known, error: None, over: false };
        Self { blobs, rate, progress, board: Mutex::new(board), news: Condvar::new() }
    }

    /// Runs the lanes while `unpack` takes what they bring; ends when it ends, or with the first error of either.
    pub(super) fn work<T>(
        &self,
        lanes: Vec<Lane>,
        stop: BorrowedFd<'_>,
        unpack: impl FnOnce(&Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let connections: Result<Vec<OwnedFd>, _> = lanes.iter().map(Lane::connection).collect();
        let connections = connections.map_err(|error| Error::Fetch {
            place: "casemate-fetch".to_owned(),
            object: "connection".to_owned(),
            error,
        })?;
        std::thread::scope(|scope| {
            for lane in lanes {
                scope.spawn(|| self.serve(lane));
            }
            let outcome =
                unpack(self).and_then(|value| if is_told(stop) { Err(Error::Interrupted) } else { Ok(value) });
            self.board().over = true;
            for connection in &connections {
                // casemate-fetch sees it at once, and its end of the pipe closes.
                let _ = rustix::net::shutdown(connection, Shutdown::Both);
            }
            outcome
        })
    }

    /// Waits until a blob is in the store; gives the bytes that came for it, and 0 when asked again.
    pub(super) fn wait_for(&self, blob: &Digest, stop: BorrowedFd<'_>) -> Result<u64, Error> {
        let mut board = self.board();
        loop {
            if let Some(error) = board.error.take() {
                return Err(error);
            }
            if is_told(stop) {
                return Err(Error::Interrupted);
            }
            match board.known.get_mut(blob) {
                Some(Some(bytes)) => return Ok(std::mem::take(bytes)),
                // It was there before.
                None => return Ok(0),
                Some(None) => {}
            }
            board = self.news.wait_timeout(board, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One lane's life.
    fn serve(&self, mut lane: Lane) {
        loop {
            let task = {
                let mut board = self.board();
                if board.over || board.error.is_some() {
                    return;
                }
                board.tasks.pop_front()
            };
            let Some(task) = task else { return };
            let outcome = self.bring(&mut lane, &task);
            self.progress.end(&task.blob, outcome.is_ok());
            let mut board = self.board();
            match outcome {
                Ok(bytes) => {
                    board.known.insert(task.blob, Some(bytes));
                }
                Err(error) => {
                    // The first counts.
                    board.error.get_or_insert(error);
                }
            }
            drop(board);
            self.news.notify_all();
        }
    }

    /// Brings one blob from the first server that gives the promised bytes; says how many came.
    fn bring(&self, lane: &mut Lane, Task { wanted, blob, size }: &Task) -> Result<u64, Error> {
        let (mut first, mut came) = (0, 0);
        loop {
            let mut partial = self.blobs.go_on(*blob, *size)?;
            let resumed = partial.at();
            self.progress.begin(blob, resumed, *size);
            let object = Object::Blob { digest: *blob, size: *size, offset: resumed };
            let mut endpoint = first;
            if resumed < *size || *size == 0 {
                let get = Get {
                    registry: wanted.registry,
                    first,
                    repository: wanted.repository.clone(),
                    object: object.clone(),
                };
                let done = lane.get(get, &mut |bytes| {
                    self.rate.take(bytes.len() as u64, || self.board().over);
                    came += bytes.len() as u64;
                    partial.write(bytes).map_err(Trouble::Own)?;
                    self.progress.at(blob, partial.at());
                    Ok(())
                });
                endpoint = done.map_err(|trouble: Trouble| trouble.about(wanted, &object))?.endpoint;
            }
            match partial.finish() {
                Ok(()) => return Ok(came),
                // What an earlier pull left may be what is wrong; the same server gets another chance, from the start.
                Err(Error::Mismatch { .. }) if resumed > 0 => {}
                Err(Error::Mismatch { expected, found, .. }) => {
                    first = endpoint.saturating_add(1);
                    if first >= wanted.servers {
                        let object = format!("{}: {object}", wanted.place());
                        return Err(Error::Mismatch { object, expected, found });
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}
