//! From actions on system call numbers to instructions: a binary search over ranges of numbers with the same action.
//!
//! The kernel runs a new filter once for every system call number, to find the numbers that are always allowed. So the length of a
//! path through the filter decides how long its installation takes: one comparison per number takes ten times as long as this
//! tree, and every start of a container installs two filters.

use crate::Error;
use crate::Instruction;
use crate::{Condition, Operator, Program, table};
use std::collections::BTreeMap;

/// Offsets in `struct seccomp_data`. linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

pub(super) const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
pub(super) const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
pub(super) const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
pub(super) const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
pub(super) const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
pub(super) const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// What the filter does with the calls of one number. The numbers are SECCOMP_RET_* values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// The same for any arguments.
    Always(u32),
    /// `hit` when all conditions of one of the rules hold, else `miss`.
    When { rules: Vec<Vec<Condition>>, hit: u32, miss: u32 },
}

/// Lets clone3 fail with ENOSYS: its flags lie in memory, where a filter cannot read them. A C library then uses clone.
pub(super) fn hide_clone3(actions: &mut BTreeMap<u32, Action>) {
    if let table::Lookup::Here(clone3) = table::lookup("clone3") {
        actions.insert(clone3, Action::Always(crate::errno(libc::ENOSYS)));
    }
}

/// Assembles a filter. Independent of `actions`: a call through a foreign entry (on x86_64: `int 0x80`, whose socketcall has its
/// arguments in memory, and x32) kills the process, and a number above the table fails with ENOSYS.
pub(super) fn assemble(mut actions: BTreeMap<u32, Action>, otherwise: u32) -> Result<Program, Error> {
    let no_such_call = Action::Always(crate::errno(libc::ENOSYS));
    let mut ranges: Vec<(u32, Action)> = Vec::new();
    let mut append = |start: u32, action: Action| {
        // Adjacent numbers with the same action are one range.
        if ranges.last().is_none_or(|(_, last)| *last != action) {
            ranges.push((start, action));
        }
    };
    for number in 0..=table::highest() {
        append(number, actions.remove(&number).unwrap_or(Action::Always(otherwise)));
    }
    append(table::highest() + 1, no_such_call);
    if let Some(bit) = table::FOREIGN_BIT {
        append(bit, Action::Always(libc::SECCOMP_RET_KILL_PROCESS));
    }
    let mut program = vec![
        statement(LOAD, ARCHITECTURE),
        jump(JUMP_EQUAL, table::AUDIT_ARCH, 1, 0),
        statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        statement(LOAD, NUMBER),
    ];
    program.extend(search(&ranges)?);
    Program::new(program)
}

/// A binary search for the system call number, which is in the accumulator.
fn search(ranges: &[(u32, Action)]) -> Result<Vec<Instruction>, Error> {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    match (lower, upper) {
        ([], [(_, action)]) => decide(action),
        (_, [(start, _), ..]) => {
            let lower = search(lower)?;
            let upper = search(upper)?;
            let mut code = skip(*start, lower.len())?;
            code.extend(lower);
            code.extend(upper);
            Ok(code)
        }
        (_, []) => Err(Error::Length(0)),
    }
}

/// Skips `distance` instructions when the number is at least `start`. A conditional jump skips 255 at most, a plain jump any count.
fn skip(start: u32, distance: usize) -> Result<Vec<Instruction>, Error> {
    if let Ok(near) = u8::try_from(distance) {
        return Ok(vec![jump(JUMP_AT_LEAST, start, near, 0)]);
    }
    let far = u32::try_from(distance).map_err(|_| Error::Length(distance))?;
    Ok(vec![jump(JUMP_AT_LEAST, start, 0, 1), statement(JUMP, far)])
}

/// The instructions at the end of the search: they return the action.
fn decide(action: &Action) -> Result<Vec<Instruction>, Error> {
    match action {
        Action::Always(action) => Ok(vec![statement(RETURN, *action)]),
        Action::When { rules, hit, miss } => {
            let mut code = Vec::new();
            for rule in rules {
                code.extend(all_of(rule, *hit)?);
            }
            code.push(statement(RETURN, *miss));
            Ok(code)
        }
    }
}

/// Where a comparison continues.
enum Target {
    /// At the next instruction.
    Next,
    /// Behind the rule: one of its conditions does not hold.
    RuleEnd,
    /// Behind the comparison of the low half: the high half has already shown that the condition holds.
    SkipLowHalf,
}

/// Returns `hit` when every condition holds; continues behind the rule when one does not.
fn all_of(rule: &[Condition], hit: u32) -> Result<Vec<Instruction>, Error> {
    let mut comparisons = Vec::new();
    for condition in rule {
        comparisons.extend(compare(condition)?);
    }
    let length = comparisons.len();
    let mut code = Vec::with_capacity(length + 1);
    for (index, (instruction, yes, no)) in comparisons.into_iter().enumerate() {
        let offset = |target| match target {
            Target::Next => Ok(0),
            Target::SkipLowHalf => Ok(2),
            Target::RuleEnd => u8::try_from(length - index).map_err(|_| Error::Rule(length)),
        };
        code.push(Instruction { jt: offset(yes)?, jf: offset(no)?, ..instruction });
    }
    code.push(statement(RETURN, hit));
    Ok(code)
}

/// One condition as instructions, each with its targets when true and when false; both are `Next` for a load.
fn compare(condition: &Condition) -> Result<Vec<(Instruction, Target, Target)>, Error> {
    if condition.argument > 5 {
        return Err(Error::Argument(condition.argument));
    }
    let first_word = ARGUMENTS + 8 * u32::from(condition.argument);
    let (low_word, high_word) =
        if cfg!(target_endian = "little") { (first_word, first_word + 4) } else { (first_word + 4, first_word) };
    let plain = |instruction| (instruction, Target::Next, Target::Next);
    let (high, low) = halves(condition.value);
    let mut code = Vec::new();
    let (mask, equal) = match condition.operator {
        Operator::Equal => (u64::MAX, true),
        Operator::NotEqual => (u64::MAX, false),
        Operator::MaskedEqual(mask) => (mask, true),
    };
    let (high_mask, low_mask) = halves(mask);
    let load = |code: &mut Vec<_>, offset: u32, mask: u32| {
        code.push(plain(statement(LOAD, offset)));
        if mask != u32::MAX {
            code.push(plain(statement(AND, mask)));
        }
    };
    if !condition.bits32 {
        load(&mut code, high_word, high_mask);
        let differs = if equal { Target::RuleEnd } else { Target::SkipLowHalf };
        code.push((statement(JUMP_EQUAL, high), Target::Next, differs));
    }
    load(&mut code, low_word, low_mask);
    let (same, differs) = if equal { (Target::Next, Target::RuleEnd) } else { (Target::RuleEnd, Target::Next) };
    code.push((statement(JUMP_EQUAL, low), same, differs));
    Ok(code)
}

/// The high and the low 32 bits.
fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (u32::from_le_bytes([e, f, g, h]), u32::from_le_bytes([a, b, c, d]))
}

const fn statement(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

/// A comparison that skips `yes` instructions when true and `no` when false.
const fn jump(code: u16, k: u32, yes: u8, no: u8) -> Instruction {
    Instruction { code, jt: yes, jf: no, k }
}
