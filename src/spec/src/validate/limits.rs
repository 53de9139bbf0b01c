//! Limits: what the policy wants stated, and which numbers fit together.

use crate::finding::Findings;
use crate::model::Waivable;
use crate::policy::Limit;
use crate::raw::{RawContainer, RawSpec};
use crate::resolve::{MEMORY, require_limits};
use crate::rules;

pub(super) fn validate(container: &RawContainer, spec: &RawSpec, out: &mut Findings<'_>) {
    let missing = missing(container, spec);
    let name = &container.name.value;
    if !missing.is_empty() && !waived(spec, container) {
        let list = |word: fn(Limit) -> &'static str| {
            missing.iter().map(|limit| word(*limit)).collect::<Vec<_>>().join(" and ")
        };
        out.absent(&rules::LIMITS_REQUIRED, &container.name.span, format!("`{name}` does not state {}", list(key)))
            .help(format!("add {} to its `resources`", list(example)));
    }
    let memory = container.resources.memory.as_ref().map_or(MEMORY, |memory| memory.value);
    if let Some(high) = container.resources.memory_high.as_ref().filter(|high| high.value > memory) {
        let finding =
            out.add(&rules::MEMORY_HIGH, &high.span, "memory_high is above memory, and would never be reached");
        if let Some(memory) = &container.resources.memory {
            finding.related(&memory.span, "memory");
        }
    }
}

/// The limits that the policy wants and the container does not state.
pub(super) fn missing(container: &RawContainer, spec: &RawSpec) -> Vec<Limit> {
    let mut wanted = require_limits(spec);
    wanted.retain(|limit| !container.resources.stated.contains(limit));
    wanted
}

fn waived(spec: &RawSpec, container: &RawContainer) -> bool {
    spec.waivers.iter().any(|waiver| {
        let rule = waiver.rule.as_ref().is_some_and(|rule| rule.value == Waivable::LimitsRequired);
        rule && waiver.container.as_ref().is_some_and(|name| name.value == container.name.value.as_str())
    })
}

fn key(limit: Limit) -> &'static str {
    match limit {
        Limit::Memory => "`resources.memory`",
        Limit::Pids => "`resources.pids`",
        Limit::Cpus => "`resources.cpus`",
    }
}

fn example(limit: Limit) -> &'static str {
    match limit {
        Limit::Memory => "`memory = \"64MiB\"`",
        Limit::Pids => "`pids = 64`",
        Limit::Cpus => "`cpus = 0.5`",
    }
}
