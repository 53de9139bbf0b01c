//! Work that takes long, in threads beside the event loop: preparing a file, proving layers, collecting images.
//!
//! A thread reports by a value and a count on an eventfd that the loop waits for. It is asked to end by the closing of a pipe, which
//! everything that it waits for can watch.

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// Readable once the work is to end.
pub type Interrupt = Arc<OwnedFd>;

/// The threads of one event loop; `T` is what they report.
#[derive(Debug)]
pub struct Background<T> {
    reports: mpsc::Receiver<T>,
    sender: mpsc::Sender<T>,
    reported: Rc<OwnedFd>,
    signal: Arc<OwnedFd>,
    interrupt: Interrupt,
    /// Its closing interrupts.
    open: Option<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
    /// Threads that have not reported yet.
    under_way: usize,
}

impl<T: Send + 'static> Background<T> {
    /// Without a thread.
    pub fn new() -> Result<Self, Errno> {
        let signal = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let reported = Rc::new(rustix::io::fcntl_dupfd_cloexec(&signal, 3)?);
        let (interrupt, open) = pipe_with(PipeFlags::CLOEXEC)?;
        let (sender, reports) = mpsc::channel();
        Ok(Self {
            reports,
            sender,
            reported,
            signal: Arc::new(signal),
            interrupt: Arc::new(interrupt),
            open: Some(open),
            threads: Vec::new(),
            under_way: 0,
        })
    }

    /// Readable when [`Self::take`] has something.
    pub fn descriptor(&self) -> &Rc<OwnedFd> {
        &self.reported
    }

    /// Does something in a thread of its own.
    pub fn spawn(&mut self, work: impl FnOnce(Interrupt) -> T + Send + 'static) -> io::Result<()> {
        self.threads.retain(|thread| !thread.is_finished());
        let sender = self.sender.clone();
        let signal = Arc::clone(&self.signal);
        let interrupt = Arc::clone(&self.interrupt);
        let run = move || {
            // The loop that would read it may be gone: then there is nobody to report to.
            let _ = sender.send(work(interrupt));
            let _ = rustix::io::write(&*signal, &1_u64.to_ne_bytes());
        };
        self.threads.push(std::thread::Builder::new().spawn(run)?);
        self.under_way += 1;
        Ok(())
    }

    /// What was reported since the last call.
    pub fn take(&mut self) -> Vec<T> {
        // Read first: what is reported after this makes it readable again.
        let _ = rustix::io::read(&*self.reported, &mut [0; 8]);
        let reports: Vec<T> = self.reports.try_iter().collect();
        self.under_way = self.under_way.saturating_sub(reports.len());
        reports
    }

    /// Interrupts what is under way and waits for its end.
    pub fn end(mut self) {
        drop(self.open.take());
        self.join();
    }

    /// Waits for what is under way, and interrupts it when this descriptor has something to read.
    pub fn finish_unless(mut self, descriptor: impl AsFd) {
        while self.under_way > 0 {
            let mut ready = [PollFd::new(&descriptor, PollFlags::IN), PollFd::new(&*self.reported, PollFlags::IN)];
            let waited = poll(&mut ready, None);
            let [asked, _] = ready;
            if waited.is_err() || !asked.revents().is_empty() {
                break;
            }
            self.take();
        }
        self.end();
    }

    /// Waits until every thread has ended.
    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // A thread that panicked has reported nothing, and nothing more is expected of it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_makes_the_descriptor_readable_until_it_is_taken() {
        let mut background = Background::new().unwrap();
        background.spawn(|_| 7).unwrap();
        let readable = |timeout: Option<&rustix::time::Timespec>, background: &Background<i32>| {
            let mut ready = [PollFd::new(background.descriptor(), PollFlags::IN)];
            poll(&mut ready, timeout).unwrap() == 1
        };
        assert!(readable(None, &background));
        assert_eq!(background.take(), [7]);
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        assert!(!readable(Some(&now), &background));
        background.end();
    }

    #[test]
    fn end_interrupts_what_waits() {
        let mut background = Background::new().unwrap();
        let wait = |interrupt: Interrupt| {
            let mut ready = [PollFd::new(&interrupt, PollFlags::IN)];
            poll(&mut ready, None).unwrap();
        };
        background.spawn(wait).unwrap();
        background.end();
    }
}
