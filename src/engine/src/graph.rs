//! Start and stop order: edges between container names, and the resources that block a start. Pure.
//!
//! The edges follow the order of the file: a container's first start begins after the first start of the one before it has begun, and a
//! stop of all begins with the last container, each after the one that follows it has stopped. Started starts overlap.

use crate::state::Resource;
use casemate_wire::Name;
use std::collections::BTreeMap;

/// The edges of one file.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    before: BTreeMap<Name, Name>,
    after: BTreeMap<Name, Name>,
    position: BTreeMap<Name, usize>,
    order: Vec<Name>,
}

impl Graph {
    /// From the order of a file.
    pub fn from_order<'a>(names: impl IntoIterator<Item = &'a Name>) -> Self {
        let mut graph = Self::default();
        let mut last: Option<&Name> = None;
        for (position, name) in names.into_iter().enumerate() {
            if let Some(last) = last {
                graph.before.insert(name.clone(), last.clone());
                graph.after.insert(last.clone(), name.clone());
            }
            graph.position.insert(name.clone(), position);
            graph.order.push(name.clone());
            last = Some(name);
        }
        graph
    }

    /// Containers whose first start has to begin before that of this one.
    pub fn start_after(&self, name: &Name) -> impl Iterator<Item = &Name> {
        self.before.get(name).into_iter()
    }

    /// Containers that have to end before this one is stopped in order.
    pub fn stop_after(&self, name: &Name) -> impl Iterator<Item = &Name> {
        self.after.get(name).into_iter()
    }

    /// Containers whose start or stop can depend on this one.
    pub fn neighbours(&self, name: &Name) -> impl Iterator<Item = &Name> {
        self.before.get(name).into_iter().chain(self.after.get(name))
    }

    /// The names of the file, in file order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.order.iter()
    }

    /// The position in the file, from 0; an orphan comes last.
    pub fn position(&self, name: &Name) -> usize {
        self.position.get(name).copied().unwrap_or(usize::MAX)
    }
}

/// Resources of runs that are being replaced or removed. A start waits until those that it needs are free.
#[derive(Debug, Clone, Default)]
pub struct HeldResources {
    holders: BTreeMap<Name, Option<Vec<Resource>>>,
    held: BTreeMap<Resource, usize>,
    unknown: usize,
}

impl HeldResources {
    /// Holds the resources of this container's run until it has ended; `None`: unknown, so possibly any.
    pub fn insert(&mut self, name: &Name, resources: Option<&[Resource]>) {
        self.remove(name);
        match resources {
            Some(resources) => {
                for resource in resources {
                    *self.held.entry(resource.clone()).or_default() += 1;
                }
            }
            None => self.unknown += 1,
        }
        self.holders.insert(name.clone(), resources.map(<[Resource]>::to_vec));
    }

    /// The run has ended or stays. Returns whether it held resources.
    pub fn remove(&mut self, name: &Name) -> bool {
        let Some(resources) = self.holders.remove(name) else { return false };
        match resources {
            Some(resources) => {
                for resource in resources {
                    if let Some(count) = self.held.get_mut(&resource) {
                        *count -= 1;
                        if *count == 0 {
                            self.held.remove(&resource);
                        }
                    }
                }
            }
            None => self.unknown -= 1,
        }
        true
    }

    /// Whether none of these resources is held.
    pub fn are_free(&self, resources: &[Resource]) -> bool {
        self.unknown == 0 && !resources.iter().any(|resource| self.held.contains_key(resource))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn starts_follow_file_order_and_stops_reverse_it() {
        let names = ["a", "b", "c"].map(name);
        let graph = Graph::from_order(&names);
        assert_eq!(graph.start_after(&names[1]).collect::<Vec<_>>(), [&names[0]]);
        assert_eq!(graph.stop_after(&names[1]).collect::<Vec<_>>(), [&names[2]]);
        assert_eq!(graph.start_after(&names[0]).count() + graph.stop_after(&names[2]).count(), 0);
        assert_eq!(graph.neighbours(&names[1]).count(), 2);
        assert!(graph.position(&names[2]) < graph.position(&name("orphan")));
    }

    #[test]
    fn resources_are_free_after_the_run_that_holds_them() {
        let user = Resource::User(10_001);
        let volume = Resource::Volume(name("data"));
        let mut held = HeldResources::default();
        held.insert(&name("a"), Some(&[user.clone(), volume.clone()]));
        held.insert(&name("b"), Some(std::slice::from_ref(&volume)));
        assert!(!held.are_free(std::slice::from_ref(&user)));
        assert!(held.are_free(&[Resource::User(10_002)]));
        assert!(held.remove(&name("a")) && !held.remove(&name("a")));
        assert!(held.are_free(&[user]) && !held.are_free(std::slice::from_ref(&volume)));
        held.insert(&name("c"), None);
        held.remove(&name("b"));
        assert!(!held.are_free(&[]), "unknown resources may be any");
        held.remove(&name("c"));
        assert!(held.are_free(&[volume]));
    }
}
