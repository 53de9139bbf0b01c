//! Counts of containers per condition, updated with every change, so that no check has to visit all containers.

use crate::state::Container;

/// The counts.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) not_ended: usize,
    pub(super) not_ended_by_itself: usize,
    pub(super) undecided: usize,
    pub(super) not_up: usize,
}

impl Counts {
    pub(super) fn add(&mut self, container: &Container) {
        self.not_ended += usize::from(!container.has_ended());
        self.not_ended_by_itself += usize::from(!container.has_ended_by_itself());
        self.undecided += usize::from(!container.start_is_decided());
        self.not_up += usize::from(!container.came_up());
    }

    pub(super) fn remove(&mut self, container: &Container) {
        self.not_ended -= usize::from(!container.has_ended());
        self.not_ended_by_itself -= usize::from(!container.has_ended_by_itself());
        self.undecided -= usize::from(!container.start_is_decided());
        self.not_up -= usize::from(!container.came_up());
    }
}
