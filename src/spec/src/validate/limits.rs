//! Limits: those that the policy asks for are stated, and the numbers fit together.

use crate::file::{File, name, name_span};
use crate::finding::Findings;
use crate::keys::{Row, confinement, container as keys, file};
use crate::model::{Limit, Waivable};
use crate::rules;
use crate::view::View;

pub(super) fn validate(container: &View<'_>, file: &File<'_>, out: &mut Findings<'_>) {
    let missing = missing(container, file);
    if !missing.is_empty() && !waived(file, container) {
        let list = |text: fn(&dyn Row) -> String| {
            missing.iter().map(|limit| text(row(*limit))).collect::<Vec<_>>().join(" and ")
        };
        let keys = list(|row| format!("`resources.{}`", row.about().name));
        let examples = list(|row| format!("`{} = {}`", row.about().name, row.example()));
        let message = format!("`{}` does not state {keys}", name(container));
        out.absent(&rules::LIMITS_REQUIRED, name_span(container), message)
            .help(format!("add {examples} to its `resources`"));
    }
    memory_high(container, out);
}

fn memory_high(container: &View<'_>, out: &mut Findings<'_>) {
    let resources = container.group(&keys::RESOURCES_TABLE);
    let Some(high) = resources.stated(&confinement::MEMORY_HIGH) else { return };
    if resources.get(&confinement::MEMORY).is_some_and(|memory| high.value > memory) {
        let finding =
            out.add(&rules::MEMORY_HIGH, &high.span, "`memory_high` is above `memory`, and would never be reached");
        let finding = finding.help("lower `memory_high`, or raise `memory`");
        if let Some(memory) = resources.own(&confinement::MEMORY) {
            finding.related(&memory.span, "memory");
        }
    }
}

/// The limits that the policy asks for and the container does not state.
pub(super) fn missing(container: &View<'_>, file: &File<'_>) -> Vec<Limit> {
    let resources = container.group(&keys::RESOURCES_TABLE);
    let policy = file.root.group(&file::POLICY_TABLE);
    let mut wanted = policy.get(&file::REQUIRE_LIMITS).unwrap_or_default();
    wanted.retain(|limit| resources.items(row(*limit).about()).next().is_none());
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

fn waived(file: &File<'_>, container: &View<'_>) -> bool {
    file.waivers.iter().any(|waiver| {
        waiver.get(&file::RULE) == Some(Waivable::LimitsRequired)
            && waiver.get(&file::CONTAINER).is_some_and(|waived| waived == name(container))
    })
}

/// The key of a limit.
fn row(limit: Limit) -> &'static dyn Row {
    match limit {
        Limit::Memory => &confinement::MEMORY,
        Limit::Pids => &confinement::PIDS,
        Limit::Cpus => &confinement::CPUS,
    }
}
