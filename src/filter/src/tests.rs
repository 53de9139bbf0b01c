//! Compiled filters, run by a small interpreter and compared with the rules read as written: every number, and arguments
//! around every value that a condition knows.

use super::tree::{AND, JUMP, JUMP_AT_LEAST, JUMP_EQUAL, LOAD, RETURN};
use super::*;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

struct Made {
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
}

fn made(number: u32, arguments: &[u64]) -> Made {
    let mut six = [0; 6];
    six[..arguments.len()].copy_from_slice(arguments);
    Made { architecture: table::AUDIT_ARCH, number, arguments: six }
}

/// What the filter answers, and after how many instructions.
fn run(program: &Program, made: &Made) -> (u32, usize) {
    let mut data = Vec::new();
    data.extend(made.number.to_ne_bytes());
    data.extend(made.architecture.to_ne_bytes());
    data.extend([0; 8]);
    made.arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
    let (mut accumulator, mut at) = (0, 0);
    for steps in 1.. {
        let now = program.instructions()[at];
        let test = |yes| usize::from(if yes { now.jt } else { now.jf });
        at += 1;
        match now.code {
            LOAD => {
                let from = now.k as usize;
                accumulator = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
            }
            AND => accumulator &= now.k,
            JUMP => at += now.k as usize,
            JUMP_EQUAL => at += test(accumulator == now.k),
            JUMP_AT_LEAST => at += test(accumulator >= now.k),
            RETURN => return (now.k, steps),
            other => panic!("instruction {other:#x}"),
        }
    }
    unreachable!()
}

fn holds(condition: &Condition, arguments: &[u64; 6]) -> bool {
    let width = if condition.bits32 { u64::from(u32::MAX) } else { u64::MAX };
    let argument = arguments[usize::from(condition.argument)] & width;
    match condition.operator {
        Operator::Equal => argument == condition.value & width,
        Operator::NotEqual => argument != condition.value & width,
        Operator::MaskedEqual(mask) => argument & mask & width == condition.value & width,
    }
}

fn number(name: &str) -> u32 {
    match lookup(name) {
        Lookup::Here(number) => number,
        other => panic!("{name}: {other:?}"),
    }
}

fn expected(calls: &[(u32, Call)], otherwise: u32, made: &Made) -> u32 {
    if made.architecture != table::AUDIT_ARCH || made.number >= 1 << 30 {
        return KILL;
    }
    if made.number > 469 || made.number == 435 {
        return errno(libc::ENOSYS);
    }
    let fits = |(number, call): &&(u32, Call)| {
        *number == made.number && call.conditions.iter().all(|one| holds(one, &made.arguments))
    };
    if calls.iter().any(|call| fits(&call)) { ALLOW } else { otherwise }
}

fn condition(argument: u8, bits32: bool, operator: Operator, value: u64) -> Condition {
    Condition { argument, bits32, operator, value }
}

/// Rules of every kind: neighbours, gaps, several for one call, 32 and 64 bits, long ones, and one that others make useless.
fn calls() -> Vec<Call> {
    use Operator::{Equal, MaskedEqual, NotEqual};
    let wide = 0x1234_5678_0000_0005;
    let call = |name: &str, conditions: Vec<Condition>| Call { name: name.to_owned(), conditions };
    let mut calls = vec![
        call("read", vec![]),
        call("write", vec![]),
        call("open", vec![condition(1, true, Equal, 5)]),
        call("open", vec![condition(1, false, Equal, wide), condition(2, false, NotEqual, wide)]),
        call("close", vec![condition(0, false, NotEqual, 7), condition(0, true, NotEqual, 9)]),
        call("stat", vec![condition(0, false, MaskedEqual(0xff00_0000_0000_00ff), 0x1200_0000_0000_0005)]),
        call("fstat", vec![condition(0, true, MaskedEqual(0xf0), 0x50), condition(5, true, Equal, 0)]),
        call("futex", vec![condition(0, true, Equal, 1)]),
        call("futex", vec![]),
        call("mseal", vec![condition(0, false, NotEqual, 0)]),
        call("clone3", vec![]),
    ];
    calls.extend((0..60).map(|value| call("ioctl", vec![condition(1, false, Equal, value * 7)])));
    calls.extend(["poll", "lseek", "exit", "getcpu", "listmount"].map(|name| call(name, vec![])));
    calls
}

/// Around every value of a condition: itself, its neighbours, with other high bits, its high half alone.
fn arguments(calls: &[Call]) -> Vec<u64> {
    let values = calls.iter().flat_map(|call| &call.conditions).map(|condition| condition.value);
    let mut all: Vec<u64> = values
        .flat_map(|v| {
            [
                v,
                v.wrapping_add(1),
                v.wrapping_sub(1),
                v | 1 << 32,
                v ^ 1 << 63,
                v >> 32,
                v << 32,
                v & 0xffff_ffff,
                v | 0xf00,
            ]
        })
        .chain([0, u64::MAX])
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_compiled_filter_says_what_its_rules_say() {
    let calls = calls();
    let values = arguments(&calls);
    let numbered: Vec<_> = calls.iter().map(|call| (number(&call.name), call.clone())).collect();
    for (otherwise, answer) in [(Otherwise::Refuse, errno(libc::EPERM)), (Otherwise::Kill, KILL)] {
        let program = compile(&calls, otherwise).unwrap();
        let check = |made: &Made| {
            assert_eq!(
                run(&program, made).0,
                expected(&numbered, answer, made),
                "{} {:x?}",
                made.number,
                made.arguments
            );
        };
        for number in (0..1100).chain([u32::MAX, 1 << 30, 1 << 30 | 39, 1 << 31]) {
            check(&made(number, &[]));
            check(&Made { architecture: 0x4000_0003, ..made(number, &[]) });
        }
        for name in ["open", "close", "stat", "fstat", "futex", "ioctl", "mseal"] {
            let number = number(name);
            for &value in &values {
                for argument in 0..6 {
                    let mut six = [0; 6];
                    six[argument] = value;
                    check(&made(number, &six));
                }
                check(&made(number, &[value; 6]));
            }
        }
    }
}

#[test]
fn a_filter_of_hundreds_of_calls_answers_after_a_dozen_tests() {
    let baseline = baseline(false).unwrap();
    let longest = (0..=highest()).map(|number| run(&baseline, &made(number, &[])).1).max();
    assert!(longest < Some(40), "{longest:?}");
}

#[test]
fn a_rule_that_no_jump_can_leave_is_an_error() {
    let conditions = vec![condition(0, true, Operator::NotEqual, 1); 200];
    let call = Call { name: "read".to_owned(), conditions };
    assert!(matches!(compile(&[call], Otherwise::Refuse), Err(Error::Rule(_))));
    let call = Call { name: "read".to_owned(), conditions: vec![condition(6, true, Operator::Equal, 1)] };
    assert_eq!(compile(&[call], Otherwise::Refuse).err(), Some(Error::Argument(6)));
}
