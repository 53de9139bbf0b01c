//! Writing to a stream without ever waiting for its reader: what the reader does not take is kept up to a bound, and past it left out
//! and counted.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes that a reader has not taken.
pub const BACKLOG: usize = 1 << 20;
/// POLLOUT promises room for this much (pipe(7), PIPE_BUF).
const ONCE: usize = 4096;

/// One stream.
#[derive(Debug)]
pub struct Writer {
    descriptor: Rc<OwnedFd>,
    waiting: VecDeque<u8>,
    left_out: u64,
    gone: bool,
}

impl Writer {
    /// Writes to the descriptor, which may be shared with others and so stays in its mode.
    pub fn new(descriptor: OwnedFd) -> Self {
        Self { descriptor: Rc::new(descriptor), waiting: VecDeque::new(), left_out: 0, gone: false }
    }

    /// Takes whole lines, or none of them.
    pub fn put(&mut self, text: &str) {
        if self.gone {
            return;
        }
        if self.waiting.len() > BACKLOG {
            self.left_out += 1;
            return;
        }
        if self.left_out > 0 {
            let count = std::mem::take(&mut self.left_out);
            let gap = format!("casemate: {count} lines are not shown here; `casemate logs` has them\n");
            self.waiting.extend(gap.as_bytes());
        }
        self.waiting.extend(text.as_bytes());
    }

    /// The descriptor, to wait on while [`Self::waits`].
    pub fn descriptor(&self) -> &Rc<OwnedFd> {
        &self.descriptor
    }

    /// Whether the reader has not taken everything.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Writes what the reader takes without waiting.
    pub fn flush(&mut self) {
        while !self.waiting.is_empty() && self.takes_more() && self.write() {}
    }

    /// At the end there is nothing else to do than to wait for the reader.
    pub fn finish(&mut self) {
        while !self.waiting.is_empty() && self.write() {}
    }

    fn write(&mut self) -> bool {
        let (head, _) = self.waiting.as_slices();
        match rustix::io::write(&*self.descriptor, head.get(..ONCE.min(head.len())).unwrap_or_default()) {
            Ok(count) => {
                self.waiting.drain(..count);
                true
            }
            Err(rustix::io::Errno::INTR) => true,
            // Somebody else made the descriptor non-blocking, and it is full.
            Err(rustix::io::Errno::AGAIN) => false,
            Err(_) => self.forget(),
        }
    }

    fn takes_more(&mut self) -> bool {
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut ready = [PollFd::from_borrowed_fd(self.descriptor.as_fd(), PollFlags::OUT)];
        let count = poll(&mut ready, Some(&now)).unwrap_or(0);
        let [ready] = ready;
        match (count, ready.revents().contains(PollFlags::OUT)) {
            (0, _) => false,
            (_, true) => true,
            // Hung up: nobody will read any more, and the containers are not to suffer for it.
            (_, false) => self.forget(),
        }
    }

    fn forget(&mut self) -> bool {
        self.gone = true;
        self.waiting.clear();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn threat_28_a_reader_that_sleeps_costs_bounded_memory_and_no_time() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut writer = Writer::new(write);
        let line = format!("{}\n", "x".repeat(99));
        for _ in 0..100_000 {
            writer.put(&line);
            writer.flush();
        }
        assert!(writer.waiting.len() < BACKLOG + 200);
        // Once it wakes up it learns how much it has missed.
        let reader = std::thread::spawn(move || {
            let (mut all, mut buffer) = (Vec::new(), [0; 65536]);
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
    fn a_reader_that_is_gone_is_forgotten() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut writer = Writer::new(write);
        drop(read);
        // A process that another test starts at this moment has the read end until it is executed.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !writer.gone && std::time::Instant::now() < end {
            writer.put("x\n");
            writer.flush();
        }
        assert!(writer.gone && !writer.waits());
    }
}
