//! Runs compiled filters in a small interpreter and compares the actions with a direct evaluation of the rules: every system call
//! number, and arguments around every value of a condition.

use super::*;

#[path = "../tests/bpf/mod.rs"]
mod bpf;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

fn call_of(number: u32, arguments: &[u64]) -> bpf::Call {
    let mut six = [0; 6];
    six[..arguments.len()].copy_from_slice(arguments);
    bpf::Call { architecture: table::AUDIT_ARCH, number, arguments: six }
}

/// The action of the filter, and the count of instructions that it took.
fn run(program: &Program, call: &bpf::Call) -> (u32, usize) {
    bpf::run(&raw(program), call)
}

fn raw(program: &Program) -> Vec<bpf::Instruction> {
    program.instructions().iter().map(|one| (one.code, one.jt, one.jf, one.k)).collect()
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

fn expected(calls: &[(u32, Call)], otherwise: u32, call_made: &bpf::Call) -> u32 {
    if call_made.architecture != table::AUDIT_ARCH || call_made.number >= 1 << 30 {
        return KILL;
    }
    if call_made.number > 469 || call_made.number == 435 {
        return errno(libc::ENOSYS);
    }
    let matches = |(number, call): &&(u32, Call)| {
        *number == call_made.number && call.conditions.iter().all(|one| holds(one, &call_made.arguments))
    };
    if calls.iter().any(|call| matches(&call)) { ALLOW } else { otherwise }
}

fn condition(argument: u8, bits32: bool, operator: Operator, value: u64) -> Condition {
    Condition { argument, bits32, operator, value }
}

/// Rules of every kind: adjacent numbers, gaps, several rules for one call, 32 and 64 bits, many conditions, and a rule that an
/// unconditional one overrides.
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

/// For every value of a condition: the value, its neighbours, the value with other high bits, and each half alone.
fn arguments(calls: &[Call]) -> Vec<u64> {
    around(calls.iter().flat_map(|call| &call.conditions).map(|condition| condition.value))
}

fn around(values: impl Iterator<Item = u64>) -> Vec<u64> {
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
fn compiled_filter_agrees_with_its_rules() {
    let calls = calls();
    let values = arguments(&calls);
    let numbered: Vec<_> = calls.iter().map(|call| (number(&call.name), call.clone())).collect();
    for (otherwise, answer) in [(Otherwise::Refuse, errno(libc::EPERM)), (Otherwise::Kill, KILL)] {
        let program = compile(&calls, otherwise).unwrap();
        let check = |call_made: &bpf::Call| {
            assert_eq!(
                run(&program, call_made).0,
                expected(&numbered, answer, call_made),
                "{} {:x?}",
                call_made.number,
                call_made.arguments
            );
        };
        for number in (0..1100).chain([u32::MAX, 1 << 30, 1 << 30 | 39, 1 << 31]) {
            check(&call_of(number, &[]));
            check(&bpf::Call { architecture: 0x4000_0003, ..call_of(number, &[]) });
        }
        for name in ["open", "close", "stat", "fstat", "futex", "ioctl", "mseal"] {
            let number = number(name);
            for &value in &values {
                for argument in 0..6 {
                    let mut six = [0; 6];
                    six[argument] = value;
                    check(&call_of(number, &six));
                }
                check(&call_of(number, &[value; 6]));
            }
        }
    }
}

#[test]
fn baseline_decides_every_call_within_40_instructions() {
    let baseline = baseline(false).unwrap();
    let longest = (0..=highest()).map(|number| run(&baseline, &call_of(number, &[])).1).max();
    assert!(longest < Some(40), "{longest:?}");
}

#[test]
fn rule_longer_than_a_jump_is_an_error() {
    let conditions = vec![condition(0, true, Operator::NotEqual, 1); 200];
    let call = Call { name: "read".to_owned(), conditions };
    assert!(matches!(compile(&[call], Otherwise::Refuse), Err(Error::Rule(_))));
    let call = Call { name: "read".to_owned(), conditions: vec![condition(6, true, Operator::Equal, 1)] };
    assert_eq!(compile(&[call], Otherwise::Refuse).err(), Some(Error::Argument(6)));
}

/// The same rules in seccompiler, an independent compiler.
fn by_seccompiler(
    actions: &std::collections::BTreeMap<u32, tree::Action>,
    miss: u32,
    hit: u32,
) -> Vec<bpf::Instruction> {
    use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};
    let action = |number: u32| match number {
        libc::SECCOMP_RET_ALLOW => SeccompAction::Allow,
        libc::SECCOMP_RET_KILL_PROCESS => SeccompAction::KillProcess,
        errno => SeccompAction::Errno(errno & libc::SECCOMP_RET_DATA),
    };
    let condition = |one: &Condition| {
        let length = if one.bits32 { SeccompCmpArgLen::Dword } else { SeccompCmpArgLen::Qword };
        let operator = match one.operator {
            Operator::Equal => SeccompCmpOp::Eq,
            Operator::NotEqual => SeccompCmpOp::Ne,
            Operator::MaskedEqual(mask) => SeccompCmpOp::MaskedEq(mask),
        };
        SeccompCondition::new(one.argument, length, operator, one.value).unwrap()
    };
    let rules = actions.iter().filter_map(|(&number, action)| {
        let rules = match action {
            tree::Action::Always(answer) if *answer == hit => Vec::new(),
            // A third answer, which seccompiler has no room for: clone3.
            tree::Action::Always(_) => return None,
            tree::Action::When { rules, .. } => {
                rules.iter().map(|rule| SeccompRule::new(rule.iter().map(condition).collect()).unwrap()).collect()
            }
        };
        Some((i64::from(number), rules))
    });
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules.collect(), action(miss), action(hit), architecture).unwrap();
    let program = seccompiler::BpfProgram::try_from(filter).unwrap();
    program.iter().map(|one| (one.code, one.jt, one.jf, one.k)).collect()
}

#[test]
fn built_in_filters_answer_as_those_of_seccompiler() {
    let refuse = errno(libc::EPERM);
    for (name, actions) in [
        ("baseline", baseline::baseline_actions(false).unwrap()),
        ("baseline with chroot", baseline::baseline_actions(true).unwrap()),
        ("outer", baseline::outer_actions().unwrap()),
        ("manager", baseline::manager_actions().unwrap()),
    ] {
        let ours = raw(&tree::assemble(actions.clone(), ALLOW).unwrap());
        let theirs = by_seccompiler(&actions, ALLOW, refuse);
        let values = actions.values().flat_map(|action| match action {
            tree::Action::When { rules, .. } => rules.iter().flatten().map(|one| one.value).collect(),
            tree::Action::Always(_) => Vec::new(),
        });
        let values = around(values);
        for number in 0..=highest() {
            let hidden = actions.get(&number) == Some(&tree::Action::Always(errno(libc::ENOSYS)));
            let conditional = matches!(actions.get(&number), Some(tree::Action::When { .. }));
            let sampled = if conditional { values.as_slice() } else { &[0, u64::MAX] };
            for &value in sampled {
                for argument in 0..6 {
                    let mut call = call_of(number, &[]);
                    call.arguments[argument] = value;
                    let expected = if hidden { errno(libc::ENOSYS) } else { bpf::run(&theirs, &call).0 };
                    assert_eq!(bpf::run(&ours, &call).0, expected, "{name}: {call:x?}");
                }
                let call = call_of(number, &[value; 6]);
                let expected = if hidden { errno(libc::ENOSYS) } else { bpf::run(&theirs, &call).0 };
                assert_eq!(bpf::run(&ours, &call).0, expected, "{name}: {call:x?}");
            }
        }
    }
}
