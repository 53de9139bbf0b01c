//! How many containers are in a condition, kept along with every change, so that nothing has to look at all of them.

use crate::state::Container;

/// The counts.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) not_over: usize,
    pub(super) not_over_for_good: usize,
    pub(super) undecided: usize,
    pub(super) not_up: usize,
}

impl Counts {
    pub(super) fn add(&mut self, container: &Container) {
        self.not_over += usize::from(!container.is_over());
        self.not_over_for_good += usize::from(!container.is_over_for_good());
        self.undecided += usize::from(!container.is_decided());
        self.not_up += usize::from(!container.is_up());
    }

    pub(super) fn remove(&mut self, container: &Container) {
        self.not_over -= usize::from(!container.is_over());
        self.not_over_for_good -= usize::from(!container.is_over_for_good());
        self.undecided -= usize::from(!container.is_decided());
        self.not_up -= usize::from(!container.is_up());
    }
}
