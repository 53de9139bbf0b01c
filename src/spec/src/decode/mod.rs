//! From the parser's tables to [`RawSpec`]: keys, types, and the rules that one value can break by itself.

mod container;
mod mounts;
mod process;
mod registries;
mod resources;
mod scalar;
mod security;
mod store;
mod waivers;

use super::cursor::{At, Cursor, Item};
use super::finding::{Findings, quoted};
use super::logging::ManagerLog;
use super::model::Persistence;
use super::policy::Limit;
use super::raw::{RawDefaults, RawSpec, RawVolume};
use super::{keys, rules};
use casemate_wire::Name;
use toml::de::DeTable;

/// Reads the whole file.
pub(super) fn spec(table: &DeTable<'_>, out: &mut Findings<'_>) -> RawSpec {
    let mut spec = RawSpec::default();
    let mut root = Cursor::new(&keys::ROOT, table, 0..0);
    if let Some(item) = root.require("schema", out) {
        schema(&item, out);
    }
    if let Some(mut table) = root.require("appliance", out).and_then(|item| item.table(&keys::APPLIANCE, out)) {
        spec.appliance = table.require("name", out).and_then(|item| {
            let text = item.string(out)?;
            name(text, &item.span, out)
        });
        spec.log = table.take("log").and_then(|item| manager_log(&item, out));
        table.finish(out);
    }
    if let Some(mut table) = root.take("policy").and_then(|item| item.table(&keys::POLICY, out)) {
        spec.require_limits = table.take("require_limits").and_then(|item| limits(&item, out));
        if let Some(item) = table.take("pull") {
            // What is always so: a start has no network. It is a key because readers look for it.
            let _ = scalar::word(&item, &[("never-at-start", ())], out);
        }
        table.finish(out);
    }
    if let Some(table) = root.take("defaults").and_then(|item| item.table(&keys::DEFAULTS, out)) {
        spec.defaults = defaults(table, out);
    }
    for item in named(root.take("registries"), "[registries.\"HOST[:PORT]\"]", out) {
        spec.registries.extend(registries::registry(&item, out));
    }
    if let Some(table) = root.take("store").and_then(|item| item.table(&keys::STORE, out)) {
        spec.store = store::store(table, out);
    }
    for item in named(root.take("volumes"), "[volumes.NAME]", out) {
        spec.volumes.extend(volume(&item, out));
    }
    let containers = root.require("containers", out);
    for item in named(containers, "[containers.NAME]", out) {
        spec.containers.extend(container::container(&item, out));
    }
    if let Some(item) = root.take("waivers") {
        spec.waivers = waivers::waivers(&item, out);
    }
    root.finish(out);
    spec
}

fn schema(item: &Item<'_>, out: &mut Findings<'_>) {
    match item.as_integer() {
        Some(Some(1)) => {}
        Some(_) => {
            out.add(&rules::SCHEMA, &item.span, "this casemate reads schema 1 only").help("write `schema = 1`");
        }
        None => item.wrong_type("an integer", Some("write `schema = 1`"), out),
    }
}

fn manager_log(item: &Item<'_>, out: &mut Findings<'_>) -> Option<ManagerLog> {
    let words = [("stderr", ManagerLog::Stderr), ("journald", ManagerLog::Journald), ("syslog", ManagerLog::Syslog)];
    scalar::word(item, &words, out)
}

/// The tables below `[volumes]` and `[containers]`, in file order.
fn named<'t>(item: Option<Item<'t>>, wanted: &str, out: &mut Findings<'_>) -> Vec<Item<'t>> {
    let Some(item) = item else { return Vec::new() };
    let entries = item.entries(&format!("tables, each written {wanted}"), None, out);
    counted(entries.unwrap_or_default(), out)
}

/// As many as a file may have: they are compared with each other, so a hostile file must not have more.
fn counted<'t>(mut items: Vec<Item<'t>>, out: &mut Findings<'_>) -> Vec<Item<'t>> {
    const MOST: usize = 1000;
    if let Some(first) = items.get(MOST) {
        out.add(&rules::COUNT, &first.key_span, format!("there are more than {MOST}; the rest is not read"));
    }
    items.truncate(MOST);
    items
}

/// A container's, volume's or appliance's name.
fn name(text: &str, span: &std::ops::Range<usize>, out: &mut Findings<'_>) -> Option<Name> {
    let name = Name::new(text);
    if let Err(error) = &name {
        let fixed: String =
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        let fixed = fixed.trim_matches('-');
        out.add(&rules::NAME, span, format!("{} is no name: {error}", quoted(text)))
            .help_if(|| Name::new(fixed).is_ok().then(|| format!("write `{fixed}`")));
    }
    name.ok()
}

fn limits(item: &Item<'_>, out: &mut Findings<'_>) -> Option<Vec<Limit>> {
    let words = [("memory", Limit::Memory), ("pids", Limit::Pids), ("cpus", Limit::Cpus)];
    let mut limits: Vec<Limit> = Vec::new();
    for element in item.array("a list of limits", Some("write `[\"memory\", \"pids\"]`"), out)? {
        if let Some(limit) = scalar::word(&element, &words, out) {
            if limits.contains(&limit) {
                out.add(&rules::WORD, &element.span, "this limit stands in the list twice");
            } else {
                limits.push(limit);
            }
        }
    }
    Some(limits)
}

fn volume(item: &Item<'_>, out: &mut Findings<'_>) -> Option<RawVolume> {
    let name = name(item.name, &item.key_span, out);
    let mut table = item.table(&keys::VOLUME, out)?;
    let words = [("permanent", Persistence::Permanent)];
    let persistence =
        table.take("persistence").map_or(Some(Persistence::Permanent), |item| scalar::word(&item, &words, out));
    table.finish(out);
    Some(RawVolume { name: At { value: name?, span: item.key_span.clone() }, persistence })
}

fn defaults(mut table: Cursor<'_>, out: &mut Findings<'_>) -> RawDefaults {
    let mut defaults = RawDefaults {
        read_only: table.take("read_only").and_then(|item| item.boolean(out)),
        init: table.take("init").and_then(|item| item.boolean(out)),
        ..RawDefaults::default()
    };
    if let Some(item) = table.take("cap_drop") {
        cap_drop(&item, out);
    }
    if let Some(item) = table.take("restart") {
        defaults.restart = process::restart(&item, out);
    }
    defaults.stop_signal = table.take("stop_signal").and_then(|item| process::stop_signal(&item, out));
    defaults.stop_grace_period = table.take("stop_grace_period").and_then(|item| scalar::duration(&item, out));
    if let Some(table) = table.take("security").and_then(|item| item.table(&keys::DEFAULT_SECURITY, out)) {
        defaults.security = security::defaults(table, out);
    }
    if let Some(mut table) = table.take("logging").and_then(|item| item.table(&keys::DEFAULT_LOGGING, out)) {
        defaults.log_driver = table.take("driver").and_then(|item| container::log_driver(&item, out));
        table.finish(out);
    }
    table.finish(out);
    defaults
}

/// `cap_drop` says what is always so; it is a key because readers of compose files look for it.
fn cap_drop(item: &Item<'_>, out: &mut Findings<'_>) {
    let Some(elements) = item.array("[\"ALL\"]", None, out) else { return };
    let all = matches!(elements.as_slice(), [only] if only.as_str() == Some("ALL"));
    if !all {
        out.add(&rules::CAP_DROP, &item.span, "every capability is dropped: nothing else can be written here")
            .help("write `cap_drop = [\"ALL\"]`, and name what a container needs in its `security.cap_add`");
    }
}
