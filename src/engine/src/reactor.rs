//! Waiting for many descriptors and one moment: epoll(7), level-triggered, with a value of the caller's for each descriptor.
//!
//! A registration owns its descriptor and takes it out of the epoll set before it is closed. That is not optional: the pipes of a
//! container are the helper's too, and the kernel keeps what is registered as long as any process has it open.

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

/// Events of one wait; what is ready beyond them comes with the next one.
const BATCH: usize = 256;

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or the end.
    Read,
    /// Room to write.
    Write,
    /// Both.
    ReadWrite,
    /// Only that the peer has gone.
    HangUp,
    /// Nothing for now.
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

/// The epoll set. `S` says what a descriptor is.
#[derive(Debug)]
pub struct Reactor<S>(Rc<Set<S>>);

#[derive(Debug)]
struct Set<S> {
    epoll: OwnedFd,
    sources: RefCell<BTreeMap<u64, S>>,
    next: Cell<u64>,
}

/// A descriptor in the set, until this is dropped.
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

    /// Waits for a descriptor from now on.
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

    /// Waits until a descriptor is ready, or until the moment; gives what is ready.
    pub fn wait(&self, until: Option<Instant>) -> Result<Vec<S>, Errno> {
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
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
    /// Changes what is waited for.
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
    fn ready_descriptors_are_named_and_a_moment_ends_the_wait() {
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
    fn dropped_registration_is_not_reported_though_another_process_has_the_pipe_open() {
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
    fn regular_file_cannot_be_waited_for() {
        let reactor = Reactor::new().unwrap();
        let file = tempfile::tempfile().unwrap();
        assert_eq!(reactor.register(&Rc::new(file.into()), Interest::Write, ()).unwrap_err(), Errno::PERM);
    }
}
