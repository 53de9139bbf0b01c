//! Filters that name what is allowed.
//!
//! Enters: names of system calls, each with the conditions under which it may be made. Leaves: a program that gives
//! everything else one answer.

use super::{Program, prologue::prologue, rule, table};
use crate::Error;
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpOp, SeccompFilter, SeccompRule};
use std::collections::BTreeMap;

/// A call that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// All must hold; none: always allowed. A call that stands several times is allowed when one of them fits.
    pub conditions: Vec<Condition>,
}

/// A test of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// 0 to 5.
    pub argument: u8,
    /// Look at the low 32 bits only, as the kernel does with an `int`.
    pub bits32: bool,
    /// How to compare.
    pub operator: Operator,
    /// With what.
    pub value: u64,
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Equal in the bits of this mask.
    MaskedEqual(u64),
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
    let calls: Vec<_> =
        names.iter().map(|&name| Call { name: name.to_owned(), conditions: Vec::new() }).collect();
    compile(&calls, Otherwise::Kill)
}

/// Compiles a list of allowed calls.
pub fn compile(calls: &[Call], otherwise: Otherwise) -> Result<Program, Error> {
    // None: allowed whatever its arguments are. Such an entry wins over any with conditions.
    let mut allowed: BTreeMap<i64, Option<Vec<SeccompRule>>> = BTreeMap::new();
    for call in calls {
        let number = match table::lookup(&call.name) {
            table::Lookup::Here(number) => i64::from(number),
            table::Lookup::Elsewhere => continue,
            table::Lookup::Unknown => return Err(Error::UnknownSystemCall(call.name.clone())),
        };
        let rules = allowed.entry(number).or_insert_with(|| Some(Vec::new()));
        if call.conditions.is_empty() {
            *rules = None;
        } else if let Some(rules) = rules {
            rules.push(rule(&call.conditions.iter().map(Condition::parts).collect::<Vec<_>>())?);
        }
    }
    let rules = allowed.into_iter().map(|(number, rules)| (number, rules.unwrap_or_default())).collect();
    let answer = match otherwise {
        Otherwise::Refuse => SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        Otherwise::Kill => SeccompAction::KillProcess,
    };
    let filter =
        SeccompFilter::new(rules, answer, SeccompAction::Allow, table::ARCH).map_err(super::backend)?;
    Program::joined(prologue(), BpfProgram::try_from(filter).map_err(super::backend)?)
}

impl Condition {
    fn parts(&self) -> (u8, bool, SeccompCmpOp, u64) {
        let operator = match self.operator {
            Operator::Equal => SeccompCmpOp::Eq,
            Operator::NotEqual => SeccompCmpOp::Ne,
            Operator::MaskedEqual(mask) => SeccompCmpOp::MaskedEq(mask),
        };
        (self.argument, self.bits32, operator, self.value)
    }
}
