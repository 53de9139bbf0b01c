//! The containers that run, behind one descriptor: a turn of the event loop takes the same time for any number of them.

use casemate_confine::{At, Error};
use casemate_wire::{Failure, Name};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// At most this many ends are read in one turn; the others stay readable.
const MOST_EVENTS: usize = 64;

/// An epoll instance with the pidfds of the containers that run.
pub struct Running {
    epoll: OwnedFd,
    names: BTreeMap<u64, Name>,
}

impl Running {
    /// No container.
    pub fn new() -> Result<Self, Error> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC).at("epoll_create1")?, names: BTreeMap::new() })
    }

    /// Adds a container under a number that was not used before.
    pub fn add(&mut self, id: u64, name: &Name, pidfd: &OwnedFd) -> Result<(), Failure> {
        let added = epoll::add(&self.epoll, pidfd, EventData::new_u64(id), EventFlags::IN).at("epoll_ctl");
        added.map_err(|error| error.in_step("start"))?;
        self.names.insert(id, name.clone());
        Ok(())
    }

    /// Removes an ended container. The manager has a copy of its pidfd, so closing ours would not remove it.
    pub fn remove(&mut self, id: u64, pidfd: &OwnedFd) {
        let _ = epoll::delete(&self.epoll, pidfd);
        self.names.remove(&id);
    }

    /// The containers that have ended and are not removed.
    pub fn ended(&self) -> Vec<(u64, Name)> {
        let mut events = Vec::<Event>::with_capacity(MOST_EVENTS);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&now));
        let ids = events.iter().map(|event| event.data.u64());
        ids.filter_map(|id| Some((id, self.names.get(&id)?.clone()))).collect()
    }
}

impl AsFd for Running {
    /// Readable when a container has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
