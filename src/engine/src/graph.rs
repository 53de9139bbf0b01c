//! In which order containers start and stop: edges between names, and who holds what. Pure.
//!
//! The edges are those of the file's order: a container begins its first start when the one before it has begun its own, and when
//! all are stopped it is asked to stop when the one behind it has stopped. Starts that have begun overlap.

use crate::state::Resource;
use casemate_wire::Name;
use std::collections::BTreeMap;

/// The edges of one file.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    before: BTreeMap<Name, Name>,
    behind: BTreeMap<Name, Name>,
    position: BTreeMap<Name, usize>,
}

impl Graph {
    /// The order of a file.
    pub fn of_order<'a>(names: impl IntoIterator<Item = &'a Name>) -> Self {
        let mut graph = Self::default();
        let mut last: Option<&Name> = None;
        for (position, name) in names.into_iter().enumerate() {
            if let Some(last) = last {
                graph.before.insert(name.clone(), last.clone());
                graph.behind.insert(last.clone(), name.clone());
            }
            graph.position.insert(name.clone(), position);
            last = Some(name);
        }
        graph
    }

    /// Containers that have to begin before this one does.
    pub fn start_after(&self, name: &Name) -> impl Iterator<Item = &Name> {
        self.before.get(name).into_iter()
    }

    /// Containers that have to be over before this one is stopped in order.
    pub fn stop_after(&self, name: &Name) -> impl Iterator<Item = &Name> {
        self.behind.get(name).into_iter()
    }

    /// Containers whose start or stop may wait for this one.
    pub fn neighbours(&self, name: &Name) -> impl Iterator<Item = &Name> {
        self.before.get(name).into_iter().chain(self.behind.get(name))
    }

    /// The place in the file, from 0; one that the file does not have comes last.
    pub fn position(&self, name: &Name) -> usize {
        self.position.get(name).copied().unwrap_or(usize::MAX)
    }
}

/// What is held by runs that are to end: orphans, and runs of another config than the file's. A start waits for what it needs.
#[derive(Debug, Clone, Default)]
pub struct Leaving {
    holders: BTreeMap<Name, Option<Vec<Resource>>>,
    held: BTreeMap<Resource, usize>,
    unknown: usize,
}

impl Leaving {
    /// Notes what the run of this container holds until it has ended; `None`: not known, so it may be anything.
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

    /// The run has ended, or is one that stays. Says whether something was freed.
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

    /// Whether none of these is held.
    pub fn leaves_free(&self, resources: &[Resource]) -> bool {
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
    fn order_of_the_file_is_the_order_of_starts_and_reversed_that_of_stops() {
        let names = ["a", "b", "c"].map(name);
        let graph = Graph::of_order(&names);
        assert_eq!(graph.start_after(&names[1]).collect::<Vec<_>>(), [&names[0]]);
        assert_eq!(graph.stop_after(&names[1]).collect::<Vec<_>>(), [&names[2]]);
        assert_eq!(graph.start_after(&names[0]).count() + graph.stop_after(&names[2]).count(), 0);
        assert_eq!(graph.neighbours(&names[1]).count(), 2);
        assert!(graph.position(&names[2]) < graph.position(&name("orphan")));
    }

    #[test]
    fn start_waits_for_what_a_leaving_run_holds() {
        let (user, volume) = (Resource::User(10_001), Resource::Volume(name("data")));
        let mut leaving = Leaving::default();
        leaving.insert(&name("a"), Some(&[user.clone(), volume.clone()]));
        leaving.insert(&name("b"), Some(std::slice::from_ref(&volume)));
        assert!(!leaving.leaves_free(std::slice::from_ref(&user)));
        assert!(leaving.leaves_free(&[Resource::User(10_002)]));
        assert!(leaving.remove(&name("a")) && !leaving.remove(&name("a")));
        assert!(leaving.leaves_free(&[user]) && !leaving.leaves_free(std::slice::from_ref(&volume)));
        leaving.insert(&name("c"), None);
        leaving.remove(&name("b"));
        assert!(!leaving.leaves_free(&[]), "what is held is not known");
        leaving.remove(&name("c"));
        assert!(leaving.leaves_free(&[volume]));
    }
}
