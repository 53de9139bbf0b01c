//! Waivers: they name a container, hold for a time, and weaken something.

use super::limits;
use crate::date::Date;
use crate::finding::{Findings, quoted};
use crate::model::Waivable;
use crate::nearest::did_you_mean;
use crate::raw::{RawSpec, RawWaiver};
use crate::rules;

/// Days before its end from which on a waiver is warned of.
const WARNING_DAYS: i64 = 30;

pub(super) fn validate(spec: &RawSpec, today: Date, out: &mut Findings<'_>) {
    for (index, waiver) in spec.waivers.iter().enumerate() {
        expiry(waiver, today, out);
        effect(waiver, spec, out);
        let mut before = spec.waivers.iter().take(index);
        let what = |waiver: &RawWaiver| {
            let (rule, container) = (waiver.rule.as_ref()?, waiver.container.as_ref()?);
            Some((rule.value, container.value.clone()))
        };
        let same = before.find(|other| what(other).is_some() && what(other) == what(waiver));
        if let Some(first) = same {
            out.add(&rules::WAIVER_DUPLICATE, &waiver.span, "this rule is waived for this container already")
                .related(&first.span, "here");
        }
    }
}

/// The day that a waiver names is the last one on which it holds.
fn expiry(waiver: &RawWaiver, today: Date, out: &mut Findings<'_>) {
    let Some(expires) = &waiver.expires else { return };
    let days = expires.value.days_after(today);
    if days < 0 {
        out.add(
            &rules::WAIVER_EXPIRED,
            &expires.span,
            format!("this waiver ended on {}; today is {today}", expires.value),
        )
        .help("remove it and meet the rule, or decide again and give a new date");
    } else if days <= WARNING_DAYS {
        let left = match days {
            0 => "today is the last day of this waiver".to_owned(),
            1 => "this waiver ends tomorrow".to_owned(),
            days => format!("this waiver ends in {days} days"),
        };
        out.add(&rules::WAIVER_EXPIRES, &expires.span, left);
    }
}

fn effect(waiver: &RawWaiver, spec: &RawSpec, out: &mut Findings<'_>) {
    let Some(container) = &waiver.container else { return };
    let found = spec.containers.iter().find(|other| other.name.value.as_str() == container.value);
    let Some(found) = found else {
        let names = spec.containers.iter().map(|other| other.name.value.as_str());
        out.add(
            &rules::CONTAINER_UNKNOWN,
            &container.span,
            format!("there is no container {}", quoted(&container.value)),
        )
        .help_if(|| did_you_mean(&container.value, names));
        return;
    };
    let Some(rule) = &waiver.rule else { return };
    // Whether `limits` is needed is the host's to say, when the container starts.
    if rule.value == Waivable::LimitsRequired && limits::missing(found, spec).is_empty() {
        out.absent(
            &rules::WAIVER_UNUSED,
            &rule.span,
            format!("`{}` states every limit that it has to", container.value),
        )
        .help("remove this waiver");
    }
}
