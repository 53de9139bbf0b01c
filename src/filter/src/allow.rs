//! Filters that name what is allowed.
//!
//! Enters: names of system calls, each with the conditions under which it may be made. Leaves: a program that gives
//! everything else one answer.

use crate::Error;
use crate::Program;
use crate::condition::Condition;
use crate::table;
use crate::tree::{Action, assemble, hide_clone3};
use std::collections::BTreeMap;

/// A call that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// All must hold; none: always allowed. A call that stands several times is allowed when one of them fits.
    pub conditions: Vec<Condition>,
}

/// What happens to a call that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// It fails with EPERM: for payloads, which often can do without.
    Refuse,
    /// The process dies: for our own programs, which never make such a call unless they were taken over.
    Kill,
}

/// Allows these names without conditions, kills on all else. A name that only other architectures have is skipped.
pub fn allow_list(names: &[&str]) -> Result<Program, Error> {
    let calls: Vec<_> = names.iter().map(|&name| Call { name: name.to_owned(), conditions: Vec::new() }).collect();
    compile(&calls, Otherwise::Kill)
}

/// Compiles a list of allowed calls.
pub fn compile(calls: &[Call], otherwise: Otherwise) -> Result<Program, Error> {
    let miss = match otherwise {
        Otherwise::Refuse => crate::errno(libc::EPERM),
        Otherwise::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    };
    let allow = libc::SECCOMP_RET_ALLOW;
    let mut actions: BTreeMap<u32, Action> = BTreeMap::new();
    for call in calls {
        let number = match table::lookup(&call.name) {
            table::Lookup::Here(number) => number,
            table::Lookup::Elsewhere => continue,
            table::Lookup::Unknown => return Err(Error::UnknownSystemCall(call.name.clone())),
        };
        let action = actions.entry(number).or_insert_with(|| Action::When { rules: Vec::new(), hit: allow, miss });
        match action {
            // An entry without conditions wins over any with some.
            _ if call.conditions.is_empty() => *action = Action::Always(allow),
            Action::When { rules, .. } => rules.push(call.conditions.clone()),
            Action::Always(_) => {}
        }
    }
    hide_clone3(&mut actions);
    assemble(actions, miss)
}
