//! From actions on system call numbers to instructions: a binary search over ranges of numbers that share a action.
//!
//! The kernel runs a new filter once for every number it knows, to find those that are always allowed. So the length of a
//! path decides what an installation costs: a chain of one comparison a number takes ten times as long as this tree, and
//! every start of a container pays for two filters.

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

/// What a call of one number gets: an action as the kernel numbers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Whatever its arguments are.
    Always(u32),
    /// `hit` when all conditions of one of the rules hold, else `miss`.
    When { rules: Vec<Vec<Condition>>, hit: u32, miss: u32 },
}

/// clone3's flags lie in memory, where no filter can read them. It answers ENOSYS; a C library then uses clone.
pub(super) fn hide_clone3(actions: &mut BTreeMap<u32, Action>) {
    if let table::Lookup::Here(clone3) = table::lookup("clone3") {
        actions.insert(clone3, Action::Always(crate::errno(libc::ENOSYS)));
    }
}

/// Assembles a filter. Whatever `actions` say: a foreign architecture (on x86_64: `int 0x80`, whose socketcall cannot be
/// judged by its arguments, and x32) is killed, and a number that the table does not reach answers ENOSYS.
pub(super) fn assemble(mut actions: BTreeMap<u32, Action>, otherwise: u32) -> Result<Program, Error> {
    let not_there = Action::Always(crate::errno(libc::ENOSYS));
    let mut ranges: Vec<(u32, Action)> = Vec::new();
    let mut append = |start: u32, action: Action| {
        // Neighbours with the same action are one range.
        if ranges.last().is_none_or(|(_, last)| *last != action) {
            ranges.push((start, action));
        }
    };
    for number in 0..=table::highest() {
        append(number, actions.remove(&number).unwrap_or(Action::Always(otherwise)));
    }
    append(table::highest() + 1, not_there);
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

/// The number is in the accumulator.
fn search(ranges: &[(u32, Action)]) -> Result<Vec<Instruction>, Error> {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    match (lower, upper) {
        ([], [(_, action)]) => answer(action),
        (_, [(start, _), ..]) => {
            let (lower, upper) = (search(lower)?, search(upper)?);
            let mut code = skip(*start, lower.len())?;
            code.extend(lower);
            code.extend(upper);
            Ok(code)
        }
        (_, []) => Err(Error::Length(0)),
    }
}

/// Skips so many instructions when the number is at least `start`. A test reaches over 255, a plain jump over any number.
fn skip(start: u32, distance: usize) -> Result<Vec<Instruction>, Error> {
    if let Ok(near) = u8::try_from(distance) {
        return Ok(vec![jump(JUMP_AT_LEAST, start, near, 0)]);
    }
    let far = u32::try_from(distance).map_err(|_| Error::Length(distance))?;
    Ok(vec![jump(JUMP_AT_LEAST, start, 0, 1), statement(JUMP, far)])
}

fn answer(action: &Action) -> Result<Vec<Instruction>, Error> {
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

/// Where a test goes on.
enum Then {
    Next,
    /// Past the rule: its conditions do not all hold.
    Leave,
    /// Past one more instruction pair: the condition is decided by the high half alone.
    Hold,
}

/// Returns `hit` when every condition holds, and goes past itself when one does not.
fn all_of(rule: &[Condition], hit: u32) -> Result<Vec<Instruction>, Error> {
    let mut tests = Vec::new();
    for condition in rule {
        tests.extend(test(condition)?);
    }
    let length = tests.len();
    let mut code = Vec::with_capacity(length + 1);
    for (index, (instruction, yes, no)) in tests.into_iter().enumerate() {
        let offset = |then| match then {
            Then::Next => Ok(0),
            Then::Hold => Ok(2),
            Then::Leave => u8::try_from(length - index).map_err(|_| Error::Rule(length)),
        };
        code.push(Instruction { jt: offset(yes)?, jf: offset(no)?, ..instruction });
    }
    code.push(statement(RETURN, hit));
    Ok(code)
}

/// One condition as instructions; a load takes both its targets as `Next`.
fn test(condition: &Condition) -> Result<Vec<(Instruction, Then, Then)>, Error> {
    if condition.argument > 5 {
        return Err(Error::Argument(condition.argument));
    }
    let first_word = ARGUMENTS + 8 * u32::from(condition.argument);
    let (low_word, high_word) =
        if cfg!(target_endian = "little") { (first_word, first_word + 4) } else { (first_word + 4, first_word) };
    let plain = |instruction| (instruction, Then::Next, Then::Next);
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
        let differs = if equal { Then::Leave } else { Then::Hold };
        code.push((statement(JUMP_EQUAL, high), Then::Next, differs));
    }
    load(&mut code, low_word, low_mask);
    let (same, differs) = if equal { (Then::Next, Then::Leave) } else { (Then::Leave, Then::Next) };
    code.push((statement(JUMP_EQUAL, low), same, differs));
    Ok(code)
}

fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (u32::from_le_bytes([e, f, g, h]), u32::from_le_bytes([a, b, c, d]))
}

const fn statement(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

/// Skips `yes` or `no` instructions.
const fn jump(code: u16, k: u32, yes: u8, no: u8) -> Instruction {
    Instruction { code, jt: yes, jf: no, k }
}
