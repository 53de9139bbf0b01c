//! Allow lists: filters that name the allowed system calls.
//!
//! Enters: names of system calls, each with the conditions on its arguments. Leaves: a program that allows these calls and
//! has one default action for all others.

use crate::Error;
use crate::Program;
use crate::condition::Condition;
use crate::table;
use crate::tree::{Action, assemble, hide_clone3};
use std::collections::BTreeMap;

/// An allowed system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Name of the system call.
    pub name: String,
    /// All must hold; an empty list allows the call always. Several entries for one call allow it when one of them matches.
    pub conditions: Vec<Condition>,
}

/// Action for a call that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// The call fails with EPERM: for payloads, which often have a fallback.
    Refuse,
    /// The process is killed: for casemate's own programs, which make such a call only after a compromise.
    Kill,
}

/// Allows these system calls without conditions and kills the process at any other. Names that only other architectures have
/// are skipped.
pub fn allow_list(names: &[&str]) -> Result<Program, Error> {
    let calls: Vec<_> = names.iter().map(|&name| Call { name: name.to_owned(), conditions: Vec::new() }).collect();
    compile(&calls, Otherwise::Kill)
}

/// Compiles a list of allowed system calls.
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
            // An entry without conditions overrides the entries with conditions.
            _ if call.conditions.is_empty() => *action = Action::Always(allow),
            Action::When { rules, .. } => rules.push(call.conditions.clone()),
            Action::Always(_) => {}
        }
    }
    hide_clone3(&mut actions);
    assemble(actions, miss)
}
