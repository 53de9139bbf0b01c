//! `[[waivers]]`.

use crate::cursor::Item;
use crate::finding::{Findings, quoted};
use crate::model::Waivable;
use crate::nearest::did_you_mean;
use crate::raw::RawWaiver;
use crate::{keys, rules};

pub(super) fn waivers(item: &Item<'_>, out: &mut Findings<'_>) -> Vec<RawWaiver> {
    let help = "write each as a table of its own, below `[[waivers]]`";
    let elements = item.array("a list of tables", Some(help), out).unwrap_or_default();
    super::counted(elements, out).iter().filter_map(|element| waiver(element, out)).collect()
}

fn waiver(item: &Item<'_>, out: &mut Findings<'_>) -> Option<RawWaiver> {
    let mut table = item.table(&keys::WAIVER, out)?;
    let rule = table.require("rule", out).and_then(|item| Some(item.at(rule(&item, out)?)));
    let container =
        table.require("container", out).and_then(|item| item.string(out).map(|name| item.at(name.to_owned())));
    let reason = table.require("reason", out).and_then(|item| reason(&item, out));
    let expires = table.require("expires", out).and_then(|item| {
        let date = item.as_date();
        if date.is_none() {
            item.wrong_type(
                "a date",
                Some("write it without quotes and without a time, as in `expires = 2027-01-31`"),
                out,
            );
        }
        date.map(|date| item.at(date))
    });
    let span = table.span.clone();
    table.finish(out);
    Some(RawWaiver { span, rule, container, reason, expires })
}

fn rule(item: &Item<'_>, out: &mut Findings<'_>) -> Option<Waivable> {
    let text = item.string(out)?;
    let found = Waivable::ALL.into_iter().find(|rule| rule.id() == text);
    if found.is_none() {
        let list: Vec<_> = Waivable::ALL.iter().map(|rule| format!("`{}`", rule.id())).collect();
        let message = if rules::RULES.iter().any(|rule| rule.id == text) {
            format!("the rule {} cannot be waived", quoted(text))
        } else {
            format!("there is no rule {}", quoted(text))
        };
        let near = did_you_mean(text, Waivable::ALL.iter().map(|rule| rule.id()));
        out.add(&rules::WAIVER_RULE, &item.span, message)
            .help(near.unwrap_or_else(|| format!("rules that can be waived: {}", list.join(", "))));
    }
    found
}

fn reason(item: &Item<'_>, out: &mut Findings<'_>) -> Option<String> {
    let text = item.string(out)?.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        out.add(&rules::WAIVER_REASON, &item.span, "a waiver says why, in one line: the report shows it first");
        return None;
    }
    Some(text.to_owned())
}
