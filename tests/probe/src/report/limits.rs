//! Resource limits of the process.

use rustix::process::{Resource, getrlimit};
use std::collections::BTreeMap;

const ALL: [(&str, Resource); 14] = [
    ("cpu", Resource::Cpu),
    ("fsize", Resource::Fsize),
    ("data", Resource::Data),
    ("stack", Resource::Stack),
    ("core", Resource::Core),
    ("rss", Resource::Rss),
    ("nproc", Resource::Nproc),
    ("nofile", Resource::Nofile),
    ("memlock", Resource::Memlock),
    ("as", Resource::As),
    ("locks", Resource::Locks),
    ("sigpending", Resource::Sigpending),
    ("msgqueue", Resource::Msgqueue),
    ("rtprio", Resource::Rtprio),
];

/// Soft and hard limit of each.
pub fn gather() -> BTreeMap<String, (String, String)> {
    let word = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |value| value.to_string());
    ALL.into_iter()
        .map(|(name, resource)| {
            let limit = getrlimit(resource);
            (name.to_owned(), (word(limit.current), word(limit.maximum)))
        })
        .collect()
}
