//! A writer that never waits for its reader: it buffers up to a bound, and beyond it drops lines and counts them.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes that are buffered at most.
pub const MAX_PENDING: usize = 1 << 20;
/// POLLOUT means room for this many bytes (pipe(7), PIPE_BUF).
const WRITE_SIZE: usize = 4096;

/// One stream.
#[derive(Debug)]
pub struct Writer {
    descriptor: Rc<OwnedFd>,
    pending: VecDeque<u8>,
    dropped: u64,
    closed: bool,
}

impl Writer {
    /// Writes to this descriptor. Other processes may share it, so it is not made non-blocking.
    pub fn new(descriptor: OwnedFd) -> Self {
        Self { descriptor: Rc::new(descriptor), pending: VecDeque::new(), dropped: 0, closed: false }
    }

    /// Buffers complete lines, or drops them.
    pub fn put(&mut self, text: &str) {
        if self.closed {
            return;
        }
        if self.pending.len() > MAX_PENDING {
            self.dropped += 1;
            return;
        }
        if self.dropped > 0 {
            let count = std::mem::take(&mut self.dropped);
            let gap = format!("casemate: {count} lines are not shown here; `casemate logs` has them\n");
            self.pending.extend(gap.as_bytes());
        }
        self.pending.extend(text.as_bytes());
    }

    /// The descriptor, to register while [`Self::has_pending`].
    pub fn descriptor(&self) -> &Rc<OwnedFd> {
        &self.descriptor
    }

    /// Whether bytes are buffered.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes without waiting.
    pub fn flush(&mut self) {
        while !self.pending.is_empty() && self.is_writable() && self.write() {}
    }

    /// Writes everything, and waits for the reader.
    pub fn finish(&mut self) {
        while !self.pending.is_empty() && self.write() {}
    }

    fn write(&mut self) -> bool {
        let (head, _) = self.pending.as_slices();
        match rustix::io::write(&*self.descriptor, head.get(..WRITE_SIZE.min(head.len())).unwrap_or_default()) {
            Ok(count) => {
                self.pending.drain(..count);
                true
            }
            Err(rustix::io::Errno::INTR) => true,
            // Another process made the descriptor non-blocking, and it is full.
            Err(rustix::io::Errno::AGAIN) => false,
            Err(_) => self.close(),
        }
    }

    fn is_writable(&mut self) -> bool {
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut ready = [PollFd::from_borrowed_fd(self.descriptor.as_fd(), PollFlags::OUT)];
        let count = poll(&mut ready, Some(&now)).unwrap_or(0);
        let [ready] = ready;
        match (count, ready.revents().contains(PollFlags::OUT)) {
            (0, _) => false,
            (_, true) => true,
            // The reader has hung up; the containers run on.
            (_, false) => self.close(),
        }
    }

    fn close(&mut self) -> bool {
        self.closed = true;
        self.pending.clear();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn threat_28_slow_reader_costs_bounded_memory_and_no_time() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut writer = Writer::new(write);
        let line = format!("{}\n", "x".repeat(99));
        for _ in 0..100_000 {
            writer.put(&line);
            writer.flush();
        }
        assert!(writer.pending.len() < MAX_PENDING + 200);
        // When it reads again it gets the count of dropped lines.
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            let mut buffer = [0; 65536];
            loop {
                match rustix::io::read(&read, &mut buffer).unwrap() {
                    0 => return String::from_utf8(all).unwrap(),
                    count => all.extend_from_slice(&buffer[..count]),
                }
            }
        });
        writer.finish();
        writer.put("last\n");
        writer.finish();
        drop(writer);
        let text = reader.join().unwrap();
        assert!(text.ends_with("last\n") && text.contains("lines are not shown here"));
    }

    #[test]
    fn writer_is_closed_when_its_reader_is_gone() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut writer = Writer::new(write);
        drop(read);
        // A child of another test may hold the read end between fork and exec.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !writer.closed && std::time::Instant::now() < end {
            writer.put("x\n");
            writer.flush();
        }
        assert!(writer.closed && !writer.has_pending());
    }
}
