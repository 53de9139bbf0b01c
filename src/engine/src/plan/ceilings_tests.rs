//! policies/ceilings.toml lists the constants of `confine` and of the plan, each with a reason.

use super::masks;
use casemate_confine::ceiling;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ceilings {
    schema: u32,
    capability: Vec<Capability>,
    sysctl: Vec<Keys>,
    masked: Vec<Paths>,
    masked_per_cpu: Vec<PerCpu>,
    read_only: Vec<Paths>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Capability {
    name: String,
    number: u8,
    comment: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    keys: Vec<String>,
    comment: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Paths {
    paths: Vec<String>,
    comment: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PerCpu {
    name: String,
    comment: String,
}

fn sorted(lists: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let mut all: Vec<String> = lists.flatten().collect();
    all.sort();
    all
}

#[test]
fn ceilings_file_lists_the_constants_with_reasons() {
    let file: Ceilings = toml::from_str(include_str!("../../../../policies/ceilings.toml")).unwrap();
    assert_eq!(file.schema, 1);
    let capabilities: Vec<_> = file.capability.iter().map(|entry| (entry.name.as_str(), entry.number)).collect();
    assert_eq!(capabilities, ceiling::CAPABILITIES);
    assert_eq!(sorted(file.sysctl.iter().map(|entry| entry.keys.clone())), ceiling::SYSCTLS);
    assert_eq!(sorted(file.masked.iter().map(|entry| entry.paths.clone())), masks::MASKED);
    assert_eq!(sorted(file.read_only.iter().map(|entry| entry.paths.clone())), masks::READ_ONLY);
    let per_cpu: Vec<_> = file.masked_per_cpu.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(per_cpu, [masks::MASKED_PER_CPU]);
    let mut comments = file.capability.iter().map(|entry| &entry.comment).collect::<Vec<_>>();
    comments.extend(file.sysctl.iter().map(|entry| &entry.comment));
    comments.extend(file.masked.iter().chain(&file.read_only).map(|entry| &entry.comment));
    comments.extend(file.masked_per_cpu.iter().map(|entry| &entry.comment));
    assert!(comments.iter().all(|comment| comment.len() > 20));
}
