//! What the service manager is told of the containers: that the set is up, how each stands, that the loop turns.

use super::container::{Container, Phase, Then};
use crate::notify::Notifier;
use std::fmt::Write as _;
use std::time::Instant;

/// What was said, so that it is said once.
#[derive(Debug, Default)]
pub struct Report {
    notifier: Notifier,
    ready: bool,
    closing: bool,
    status: String,
    draft: String,
    next: Option<Instant>,
}

impl Report {
    /// Through this notifier.
    pub fn new(notifier: Notifier) -> Self {
        Self { notifier, ..Self::default() }
    }

    /// What is to be up is decided anew; [`Self::turn`] says when it is.
    pub fn reloading(&mut self) {
        self.notifier.reloading();
        self.ready = false;
    }

    /// Says what is new, and the sign of life when it is due. Says when to come back.
    pub fn turn(&mut self, containers: &[Container], closing: bool, now: Instant) -> Option<Instant> {
        let pause = self.notifier.pause()?;
        if self.next.is_none_or(|next| next <= now) {
            self.notifier.alive();
            self.next = Some(now + pause);
        }
        self.draft.clear();
        for container in containers {
            let comma = if self.draft.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(self.draft, "{comma}{} {}", container.name, container.state());
        }
        if self.draft != self.status {
            self.notifier.status(&self.draft);
            std::mem::swap(&mut self.draft, &mut self.status);
        }
        if closing && !self.closing {
            self.notifier.stopping();
            self.closing = true;
        }
        if !self.ready && !closing && containers.iter().all(is_decided) {
            self.ready = self.notifier.ready();
        }
        self.next
    }
}

/// It was started, or cannot be; and nothing that the file no longer has is in the way of the others.
pub fn is_decided(container: &Container) -> bool {
    let first = container.restarts == 0 && matches!(container.phase, Phase::Waiting(_));
    let anew = matches!(container.phase, Phase::Stopping { then: Then::Start, .. });
    container.order.is_some() && !first && !anew
}

#[cfg(test)]
mod tests {
    use super::super::container::Why;
    use super::*;
    use casemate_error::Code;
    use casemate_wire::Name;
    use std::time::Duration;

    #[test]
    fn a_container_that_waits_for_its_first_start_is_not_up() {
        let now = Instant::now();
        let container = Container::new(Name::new("a").unwrap(), None, now);
        assert!(!is_decided(&container));
    }

    #[test]
    fn without_a_service_manager_nothing_is_due() {
        let mut container = Container::new(Name::new("a").unwrap(), None, Instant::now());
        container.phase = Phase::Ended(Why::Failed(Code::Failed));
        let mut report = Report::default();
        assert_eq!(report.turn(&[container], false, Instant::now() + Duration::from_secs(9)), None);
    }
}
