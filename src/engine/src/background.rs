//! Background work of the event loop, in threads: preparing a file, proving layers, collecting images.
//!
//! A thread returns its result through a channel and an eventfd that the loop waits for. Closing a pipe interrupts the threads: everything
//! that they wait for also watches that pipe.

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// Readable once the work has to end.
pub type Interrupt = Arc<OwnedFd>;

/// The threads of one event loop; `T` is their result.
#[derive(Debug)]
pub struct Background<T> {
    results: mpsc::Receiver<T>,
    sender: mpsc::Sender<T>,
    ready: Rc<OwnedFd>,
    signal: Arc<OwnedFd>,
    interrupt: Interrupt,
    /// Interrupts the threads when closed.
    open: Option<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
    /// Threads without a result yet.
    in_progress: usize,
}

impl<T: Send + 'static> Background<T> {
    /// Starts no thread yet.
    pub fn new() -> Result<Self, Errno> {
        let signal = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let ready = Rc::new(rustix::io::fcntl_dupfd_cloexec(&signal, 3)?);
        let (interrupt, open) = pipe_with(PipeFlags::CLOEXEC)?;
        let (sender, results) = mpsc::channel();
        Ok(Self {
            results,
            sender,
            ready,
            signal: Arc::new(signal),
            interrupt: Arc::new(interrupt),
            open: Some(open),
            threads: Vec::new(),
            in_progress: 0,
        })
    }

    /// Readable when [`Self::take_results`] has results.
    pub fn descriptor(&self) -> &Rc<OwnedFd> {
        &self.ready
    }

    /// Runs `work` in a new thread.
    pub fn spawn(&mut self, work: impl FnOnce(Interrupt) -> T + Send + 'static) -> io::Result<()> {
        self.threads.retain(|thread| !thread.is_finished());
        let sender = self.sender.clone();
        let signal = Arc::clone(&self.signal);
        let interrupt = Arc::clone(&self.interrupt);
        let run = move || {
            // Fails if the loop has ended: then the result is not needed.
            let _ = sender.send(work(interrupt));
            let _ = rustix::io::write(&*signal, &1_u64.to_ne_bytes());
        };
        self.threads.push(std::thread::Builder::new().spawn(run)?);
        self.in_progress += 1;
        Ok(())
    }

    /// The results since the last call.
    pub fn take_results(&mut self) -> Vec<T> {
        // Reset the eventfd first: a result that comes later makes it readable again.
        let _ = rustix::io::read(&*self.ready, &mut [0; 8]);
        let results: Vec<T> = self.results.try_iter().collect();
        self.in_progress = self.in_progress.saturating_sub(results.len());
        results
    }

    /// Interrupts the threads and waits for their end.
    pub fn interrupt(mut self) {
        drop(self.open.take());
        self.join();
    }

    /// Waits for the threads, and interrupts them when this descriptor is readable.
    pub fn finish_unless(mut self, descriptor: impl AsFd) {
        while self.in_progress > 0 {
            let mut ready = [PollFd::new(&descriptor, PollFlags::IN), PollFd::new(&*self.ready, PollFlags::IN)];
            let waited = poll(&mut ready, None);
            let [interrupt, _] = ready;
            if waited.is_err() || !interrupt.revents().is_empty() {
                break;
            }
            self.take_results();
        }
        self.interrupt();
    }

    /// Waits until every thread has ended.
    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // A thread that panicked has no result.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_is_readable_until_the_result_is_taken() {
        let mut background = Background::new().unwrap();
        background.spawn(|_| 7).unwrap();
        let readable = |timeout: Option<&rustix::time::Timespec>, background: &Background<i32>| {
            let mut ready = [PollFd::new(background.descriptor(), PollFlags::IN)];
            poll(&mut ready, timeout).unwrap() == 1
        };
        assert!(readable(None, &background));
        assert_eq!(background.take_results(), [7]);
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        assert!(!readable(Some(&now), &background));
        background.interrupt();
    }

    #[test]
    fn interrupt_ends_a_waiting_thread() {
        let mut background = Background::new().unwrap();
        let wait = |interrupt: Interrupt| {
            let mut ready = [PollFd::new(&interrupt, PollFlags::IN)];
            poll(&mut ready, None).unwrap();
        };
        background.spawn(wait).unwrap();
        background.interrupt();
    }
}
