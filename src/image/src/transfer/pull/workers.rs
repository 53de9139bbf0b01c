//! Downloads several blobs at a time: one thread a connection takes the next blob from a queue, and the unpacking thread waits for the
//! blob that it needs.
//!
//! An error ends all downloads: the other connections are shut down, and their blobs stay as partial ones.

use super::documents::DownloadError;
use super::interrupt::{POLL_INTERVAL, is_requested};
use super::progress::Progress;
use super::rate::Rate;
use crate::error::Error;
use crate::registry::{Connection, Get, ImageRequest, Object};
use crate::store::Blobs;
use casemate_wire::Digest;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::net::Shutdown;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A blob to download.
#[derive(Debug)]
pub(super) struct Download {
    /// An image that needs it.
    pub(super) image: ImageRequest,
    /// The blob.
    pub(super) blob: Digest,
    /// Its size in bytes.
    pub(super) size: u64,
}

/// The download threads and their queue.
pub(super) struct Workers<'a> {
    blobs: &'a Blobs,
    rate: &'a Rate,
    progress: &'a dyn Progress,
    state: Mutex<State>,
    /// Notified after each download.
    downloaded: Condvar,
}

struct State {
    queue: VecDeque<Download>,
    /// `None`: to be downloaded; else the bytes that were received for the blob.
    received: BTreeMap<Digest, Option<u64>>,
    error: Option<Error>,
    finished: bool,
}

impl<'a> Workers<'a> {
    pub(super) fn new(blobs: &'a Blobs, queue: Vec<Download>, rate: &'a Rate, progress: &'a dyn Progress) -> Self {
        let received = queue.iter().map(|download| (download.blob, None)).collect();
        let state = State { queue: queue.into(), received, error: None, finished: false };
        Self { blobs, rate, progress, state: Mutex::new(state), downloaded: Condvar::new() }
    }

    /// Runs the downloads while `unpack` uses their blobs. Ends when `unpack` ends, or with the first error.
    pub(super) fn run<T>(
        &self,
        connections: Vec<Connection>,
        stop: BorrowedFd<'_>,
        unpack: impl FnOnce(&Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let sockets: Result<Vec<OwnedFd>, _> = connections.iter().map(Connection::descriptor).collect();
        let sockets = sockets.map_err(|error| Error::Fetch {
            repository: "casemate-fetch".to_owned(),
            object: "connection".to_owned(),
            error,
        })?;
        std::thread::scope(|scope| {
            for connection in connections {
                scope.spawn(|| self.work(connection));
            }
            let outcome =
                unpack(self).and_then(|value| if is_requested(stop) { Err(Error::Interrupted) } else { Ok(value) });
            self.state().finished = true;
            for socket in &sockets {
                // casemate-fetch notices at once and closes its end of the pipe, so that the thread ends.
                let _ = rustix::net::shutdown(socket, Shutdown::Both);
            }
            outcome
        })
    }

    /// Waits until a blob is in the store. Returns the bytes that were received for it, and 0 for a second call.
    pub(super) fn wait_for(&self, blob: &Digest, stop: BorrowedFd<'_>) -> Result<u64, Error> {
        let mut state = self.state();
        loop {
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            if is_requested(stop) {
                return Err(Error::Interrupted);
            }
            match state.received.get_mut(blob) {
                Some(Some(bytes)) => return Ok(std::mem::take(bytes)),
                // Not in the queue: the store had it before.
                None => return Ok(0),
                Some(None) => {}
            }
            state = self.downloaded.wait_timeout(state, POLL_INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Downloads one blob after another on a connection.
    fn work(&self, mut connection: Connection) {
        loop {
            let download = {
                let mut state = self.state();
                if state.finished || state.error.is_some() {
                    return;
                }
                state.queue.pop_front()
            };
            let Some(download) = download else { return };
            let outcome = self.download(&mut connection, &download);
            self.progress.end(&download.blob, outcome.is_ok());
            let mut state = self.state();
            match outcome {
                Ok(bytes) => {
                    state.received.insert(download.blob, Some(bytes));
                }
                Err(error) => {
                    // The first error is reported.
                    state.error.get_or_insert(error);
                }
            }
            drop(state);
            self.downloaded.notify_all();
        }
    }

    /// Downloads a blob from the first server that sends the right bytes. Returns how many were received.
    fn download(&self, connection: &mut Connection, Download { image, blob, size }: &Download) -> Result<u64, Error> {
        let mut first = 0;
        let mut received = 0;
        loop {
            let mut partial = self.blobs.resume(*blob, *size)?;
            let resumed = partial.at();
            self.progress.begin(blob, resumed, *size);
            let object = Object::Blob { digest: *blob, size: *size, offset: resumed };
            let mut endpoint = first;
            if resumed < *size || *size == 0 {
                let get = Get {
                    registry: image.registry,
                    first,
                    repository: image.repository.clone(),
                    object: object.clone(),
                };
                let done = connection.get(get, &mut |bytes| {
                    self.rate.wait_for(bytes.len() as u64, || self.state().finished);
                    received += bytes.len() as u64;
                    partial.write(bytes).map_err(DownloadError::Store)?;
                    self.progress.at(blob, partial.at());
                    Ok(())
                });
                endpoint = done.map_err(|error: DownloadError| error.in_transfer(image, &object))?.endpoint;
            }
            match partial.finish() {
                Ok(()) => return Ok(received),
                // The wrong bytes may be those of an earlier pull: the same server is asked again, for the whole blob.
                Err(Error::Mismatch { .. }) if resumed > 0 => {}
                Err(Error::Mismatch { expected, found, .. }) => {
                    first = endpoint.saturating_add(1);
                    if first >= image.servers {
                        let object = format!("{}: {object}", image.repository_name());
                        return Err(Error::Mismatch { object, expected, found });
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}
