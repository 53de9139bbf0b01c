//! Other orders for containers that are under supervision: a file that was read again.

use super::Error;
use super::container::{Container, Order, Phase, Then, Why};
use super::supervisor::Supervisor;
use std::time::Instant;

impl Supervisor {
    /// What is the same in both files is left alone, whatever has become of it; what is another or new is started, in file order,
    /// when what runs by the old file alone has ended: a new container may have the user, and the volumes, of an old one.
    pub fn apply(&mut self, orders: Vec<Order>) -> Result<(), Error> {
        let mut before = std::mem::take(&mut self.containers);
        let mut changed = Vec::new();
        for order in orders {
            let known = before.iter().position(|container| container.name == order.job.name);
            let mut container = match known {
                Some(n) => before.remove(n),
                None => Container::new(order.job.name.clone(), None, Instant::now()),
            };
            let same = container.order.as_ref().is_some_and(|old| old.job.digest == order.job.digest);
            if same {
                self.show.send_on(&container.name, order.host.clone());
                if let Some(live) = &mut container.live {
                    live.pump_mut().set_bounds(order.bounds);
                }
                container.order = Some(order);
            } else if known.is_some() {
                log::info!(container:% = container.name; "changed: stopped and started anew");
                if let Some(live) = &mut container.live {
                    live.outdated = true;
                }
                changed.push((self.containers.len(), order));
            } else {
                container.order = Some(order);
            }
            self.containers.push(container);
        }
        // By the signal and the grace period of the order that it was started with.
        for (n, order) in changed {
            let stopped = self.containers.get(n).is_some_and(|container| container.phase == Phase::Ended(Why::Stopped));
            if !stopped {
                self.stop(n, Then::Start)?;
            }
            if let Some(container) = self.containers.get_mut(n) {
                (container.order, container.restarts, container.failure) = (Some(order), 0, None);
            }
        }
        for container in before {
            let n = self.containers.len();
            log::info!(container:% = container.name; "not in the file any more: stopped");
            self.containers.push(container);
            self.stop(n, Then::Rest)?;
            self.forget(n)?;
            if let Some(container) = self.containers.get_mut(n) {
                container.order = None;
            }
        }
        Ok(())
    }
}
