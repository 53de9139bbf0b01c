//! Waits for many descriptors and one deadline: epoll(7), level-triggered, with the caller's value for each descriptor.
//!
//! A registration owns its descriptor and removes it from the epoll set before it is closed. This is required: the helper has the pipes
//! of a container open too, and the kernel keeps a registration as long as any process has the file open.

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

/// Events per wait; further ones come with the next wait.
const BATCH: usize = 256;

/// The event to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Readable, or at its end.
    Read,
    /// Writable.
    Write,
    /// Readable or writable.
    ReadWrite,
    /// Closed by the peer.
    HangUp,
    /// None for now.
    Nothing,
}

impl Interest {
    const fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::Write => EventFlags::OUT,
            Self::ReadWrite => EventFlags::IN.union(EventFlags::OUT),
            Self::HangUp => EventFlags::RDHUP,
            Self::Nothing => EventFlags::empty(),
        }
    }
}

/// The epoll set. `S` identifies a descriptor.
#[derive(Debug)]
pub struct Reactor<S>(Rc<Set<S>>);

#[derive(Debug)]
struct Set<S> {
    epoll: OwnedFd,
    sources: RefCell<BTreeMap<u64, S>>,
    next: Cell<u64>,
}

/// A descriptor in the set, until it is dropped.
#[derive(Debug)]
pub struct Registration<S> {
    set: Rc<Set<S>>,
    token: u64,
    descriptor: Rc<OwnedFd>,
    interest: Cell<Interest>,
}

impl<S: Clone> Reactor<S> {
    /// An empty set.
    pub fn new() -> Result<Self, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self(Rc::new(Set { epoll, sources: RefCell::default(), next: Cell::new(0) })))
    }

    /// Adds a descriptor.
    ///
    /// # Errors
    /// EPERM for a regular file, which is always ready; ENOSPC above fs.epoll.max_user_watches.
    pub fn register(&self, descriptor: &Rc<OwnedFd>, interest: Interest, source: S) -> Result<Registration<S>, Errno> {
        let token = self.0.next.get();
        self.0.next.set(token + 1);
        epoll::add(&self.0.epoll, descriptor, EventData::new_u64(token), interest.flags())?;
        self.0.sources.borrow_mut().insert(token, source);
        Ok(Registration {
            set: Rc::clone(&self.0),
            token,
            descriptor: Rc::clone(descriptor),
            interest: Cell::new(interest),
        })
    }

    /// Waits until a descriptor is ready or the deadline has passed. Returns what is ready.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<Vec<S>, Errno> {
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
            Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() }
        });
        let mut events = Vec::with_capacity(BATCH);
        match epoll::wait(&self.0.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let sources = self.0.sources.borrow();
        Ok(events.iter().filter_map(|event| sources.get(&event.data.u64()).cloned()).collect())
    }
}

impl<S> Registration<S> {
    /// Changes the event to wait for.
    pub fn set_interest(&self, interest: Interest) -> Result<(), Errno> {
        if self.interest.replace(interest) == interest {
            return Ok(());
        }
        epoll::modify(&self.set.epoll, &self.descriptor, EventData::new_u64(self.token), interest.flags())
    }
}

impl<S> AsFd for Registration<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl<S> Drop for Registration<S> {
    fn drop(&mut self) {
        self.set.sources.borrow_mut().remove(&self.token);
        // It is in the set and open, so this cannot fail.
        let _ = epoll::delete(&self.set.epoll, &self.descriptor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::time::Duration;

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(10))
    }

    #[test]
    fn wait_returns_ready_descriptors_or_ends_at_the_deadline() {
        let reactor = Reactor::new().unwrap();
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let read = reactor.register(&Rc::new(read), Interest::Read, "read").unwrap();
        assert!(reactor.wait(soon()).unwrap().is_empty());
        rustix::io::write(&write, b"x").unwrap();
        assert_eq!(reactor.wait(None).unwrap(), ["read"]);
        read.set_interest(Interest::Nothing).unwrap();
        assert!(reactor.wait(soon()).unwrap().is_empty());
    }

    #[test]
    fn dropped_registration_is_not_reported_while_another_process_has_the_pipe_open() {
        let reactor = Reactor::new().unwrap();
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let other = rustix::io::dup(&read).unwrap();
        let registration = reactor.register(&Rc::new(read), Interest::Read, ()).unwrap();
        rustix::io::write(&write, b"x").unwrap();
        drop(registration);
        assert!(reactor.wait(soon()).unwrap().is_empty());
        drop(other);
    }

    #[test]
    fn regular_file_cannot_be_registered() {
        let reactor = Reactor::new().unwrap();
        let file = tempfile::tempfile().unwrap();
        assert_eq!(reactor.register(&Rc::new(file.into()), Interest::Write, ()).unwrap_err(), Errno::PERM);
    }
}
