//! The shipped profiles, compiled a second time by seccompiler from the same TOML: both programs give the same answer for every
//! system call number, with arguments around every value that a condition names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../filter/tests/bpf/mod.rs"]
mod bpf;

use casemate_engine::profile;
use casemate_filter::{Lookup, highest, lookup};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// seccompiler's program for a profile, and the values that its conditions name. Read without the engine's own types.
fn by_seccompiler(text: &str) -> (Vec<bpf::Instruction>, Vec<u64>) {
    let profile: toml::Table = text.parse().unwrap();
    let mut rules: BTreeMap<i64, Vec<Vec<SeccompCondition>>> = BTreeMap::new();
    let mut values = vec![0, u64::MAX];
    for rule in profile["allow"].as_array().unwrap() {
        let conditions = rule.get("when").and_then(toml::Value::as_array).into_iter().flatten();
        let conditions: Vec<SeccompCondition> = conditions
            .map(|when| {
                let number = |key: &str| when.get(key).and_then(toml::Value::as_integer).map(i64::cast_unsigned);
                let value = number("value").unwrap();
                values.extend([value, value + 1, value.wrapping_sub(1), value | 1 << 32, value << 32, value | 0xf00]);
                let operator = match (when["op"].as_str().unwrap(), number("mask")) {
                    ("eq", None) => SeccompCmpOp::Eq,
                    ("ne", None) => SeccompCmpOp::Ne,
                    ("masked_eq", Some(mask)) => SeccompCmpOp::MaskedEq(mask),
                    other => panic!("{other:?}"),
                };
                let length = match number("bits") {
                    None | Some(32) => SeccompCmpArgLen::Dword,
                    _ => SeccompCmpArgLen::Qword,
                };
                SeccompCondition::new(number("arg").unwrap().try_into().unwrap(), length, operator, value).unwrap()
            })
            .collect();
        for name in rule["calls"].as_array().unwrap() {
            if let Lookup::Here(number) = lookup(name.as_str().unwrap()) {
                rules.entry(number.into()).or_default().push(conditions.clone());
            }
        }
    }
    let rules = rules.into_iter().map(|(number, all)| {
        // A rule without conditions allows the call whatever other rules say; in seccompiler that is an empty list.
        let unconditional = all.iter().any(Vec::is_empty);
        let all = if unconditional { Vec::new() } else { all };
        (number, all.into_iter().map(|conditions| SeccompRule::new(conditions).unwrap()).collect())
    });
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let miss = SeccompAction::Errno(1);
    let hit = SeccompAction::Allow;
    let filter = SeccompFilter::new(rules.collect(), miss, hit, architecture).unwrap();
    let program = BpfProgram::try_from(filter).unwrap();
    values.sort_unstable();
    values.dedup();
    (program.iter().map(|one| (one.code, one.jt, one.jf, one.k)).collect(), values)
}

#[test]
fn shipped_profiles_answer_as_those_of_seccompiler() {
    let Lookup::Here(clone3) = lookup("clone3") else { panic!("no clone3") };
    for (name, text) in [("service", profile::SERVICE), ("minimal", profile::MINIMAL)] {
        let program = profile::compile(text).unwrap();
        let ours: Vec<_> = program.instructions().iter().map(|one| (one.code, one.jt, one.jf, one.k)).collect();
        let (theirs, values) = by_seccompiler(text);
        assert!(values.len() > 4, "{name}");
        let mut allowed = 0;
        let mut compare = |call: bpf::Call| {
            let expected = match call.number {
                // Ours alone: a C library then uses clone, whose flags a filter can read; and a call that this version's table
                // does not have is one that the kernel may not have.
                number if number == clone3 || number > highest() => ENOSYS,
                _ => bpf::run(&theirs, &call).0,
            };
            let answer = bpf::run(&ours, &call).0;
            assert_eq!(answer, expected, "{name}: {call:x?}");
            assert!([ALLOW, EPERM, ENOSYS].contains(&answer), "{name}: {call:x?}: {answer:#x}");
            allowed += usize::from(answer == ALLOW);
        };
        for number in 0..=highest() + 100 {
            for &value in &values {
                for argument in 0..6 {
                    let mut call = bpf::Call { architecture: ARCHITECTURE, number, arguments: [0; 6] };
                    call.arguments[argument] = value;
                    compare(call);
                }
                compare(bpf::Call { architecture: ARCHITECTURE, number, arguments: [value; 6] });
            }
        }
        assert!(allowed > 10_000, "{name}: {allowed}");
        // A foreign architecture ends the process in both.
        let foreign = bpf::Call { architecture: 0x4000_0003, number: 0, arguments: [0; 6] };
        assert_eq!((bpf::run(&ours, &foreign).0, bpf::run(&theirs, &foreign).0), (KILL, KILL));
    }
}
