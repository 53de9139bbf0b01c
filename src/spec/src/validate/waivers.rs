//! Waivers: each names a container, holds for a time, and weakens a rule.

use super::limits;
use crate::date::Date;
use crate::file::{File, name};
use crate::finding::{Findings, quoted};
use crate::keys::file as keys;
use crate::model::Waivable;
use crate::nearest::did_you_mean;
use crate::rules;
use crate::view::View;
use std::collections::BTreeMap;

/// From this many days before its end on, a waiver is warned of.
const WARNING_DAYS: i64 = 30;

pub(super) fn validate(file: &File<'_>, today: Date, out: &mut Findings<'_>) {
    let mut first_of: BTreeMap<(Waivable, String), &View<'_>> = BTreeMap::new();
    for waiver in &file.waivers {
        expiry(waiver, today, out);
        effect(waiver, file, out);
        let (Some(rule), Some(container)) = (waiver.get(&keys::RULE), waiver.get(&keys::CONTAINER)) else { continue };
        let first = *first_of.entry((rule, container)).or_insert(waiver);
        if !std::ptr::eq(first, waiver) {
            out.add(&rules::WAIVER_DUPLICATE, &waiver.span, "this rule is waived for this container already")
                .related(&first.span, "the first waiver")
                .help("remove one of the two");
        }
    }
}

/// The day that a waiver names is the last one on which it holds.
fn expiry(waiver: &View<'_>, today: Date, out: &mut Findings<'_>) {
    let Some(expires) = waiver.stated(&keys::EXPIRES) else { return };
    let days = expires.value.days_after(today);
    if days < 0 {
        let message = format!("this waiver ended on {}; today is {today}", expires.value);
        out.add(&rules::WAIVER_EXPIRED, &expires.span, message)
            .help("remove it and meet the rule, or decide again and give a new date");
    } else if days <= WARNING_DAYS {
        let message = match days {
            0 => "today is the last day of this waiver".to_owned(),
            1 => "this waiver ends tomorrow".to_owned(),
            days => format!("this waiver ends in {days} days"),
        };
        out.add(&rules::WAIVER_EXPIRES, &expires.span, message);
    }
}

/// A waiver is for a container of the file, and for a rule that the container does not keep.
fn effect(waiver: &View<'_>, file: &File<'_>, out: &mut Findings<'_>) {
    let Some(waived) = waiver.stated(&keys::CONTAINER) else { return };
    let Some(container) = file.containers.iter().find(|container| name(container) == waived.value) else {
        let message = format!("there is no container {}", quoted(&waived.value));
        out.add(&rules::CONTAINER_UNKNOWN, &waived.span, message)
            .help_if(|| did_you_mean(&waived.value, file.containers.iter().map(name)));
        return;
    };
    let Some(rule) = waiver.stated(&keys::RULE) else { return };
    // Whether the rule `limits` needs a waiver depends on the host, and is checked when the container starts.
    if rule.value == Waivable::LimitsRequired && limits::missing(container, file).is_empty() {
        let message = format!("`{}` states every limit that the policy asks for", waived.value);
        out.absent(&rules::WAIVER_UNUSED, &rule.span, message).help("remove this waiver");
    }
}
