//! Rules that compare values: within a container, between containers, and against the policy.
//!
//! Enters: the tables of a file, right or wrong. Leaves: findings only.

mod limits;
mod mounts;
mod registries;
mod users;
mod volumes;
mod waivers;

use super::date::Date;
use super::file::{File, name_span};
use super::finding::Findings;
use super::keys::container as keys;
use super::rules;
use super::view::View;

/// Checks the whole file as of a day.
pub(super) fn validate(file: &File<'_>, today: Date, out: &mut Findings<'_>) {
    has_containers(file, out);
    users::validate(file, out);
    for container in &file.containers {
        writable_root(container, out);
        mounts::validate(container, out);
        limits::validate(container, file, out);
        delays_rise(container, out);
    }
    volumes::validate(file, out);
    registries::validate(file, out);
    delays_rise(&file.defaults, out);
    waivers::validate(file, today, out);
}

fn has_containers(file: &File<'_>, out: &mut Findings<'_>) {
    if file.containers.is_empty() && !out.has_errors() {
        out.absent(&rules::MISSING_KEY, &(0..0), "the file has no container").help("add a [containers.NAME]");
    }
}

/// A root that is not read-only names what the writes go to; a read-only root names nothing.
fn writable_root(container: &View<'_>, out: &mut Findings<'_>) {
    let read_only = container.get(&keys::READ_ONLY).unwrap_or(true);
    match (container.own(&keys::WRITABLE_ROOT), read_only) {
        (Some(root), true) => {
            out.add(&rules::WRITABLE_ROOT, &root.span, "`writable_root` has no effect: the root is read-only")
                .help("add `read_only = false`, or remove `writable_root`");
        }
        (None, false) => {
            let own = container.own(&keys::READ_ONLY);
            let span = own.as_ref().map_or(name_span(container), |own| &own.span);
            out.absent(&rules::WRITABLE_ROOT, span, "a root that is not read-only needs a `writable_root`").help(
                "add `writable_root = { type = \"ephemeral\", size = \"64MiB\" }`, or `{ type = \"persistent\" }`",
            );
        }
        _ => {}
    }
}

/// The first delay is not above the longest one, whether they come from the container, from `[defaults]` or are built in.
fn delays_rise(table: &View<'_>, out: &mut Findings<'_>) {
    let table = table.group(&keys::RESTART_TABLE);
    let stated = [&keys::RESTART_MAX_DELAY, &keys::RESTART_DELAY];
    let own = stated.into_iter().find_map(|key| table.stated(key));
    let Some(at) = own.or_else(|| stated.into_iter().find_map(|key| table.effective(key))) else { return };
    let delay = table.get_or_default(&keys::RESTART_DELAY);
    let most = table.get_or_default(&keys::RESTART_MAX_DELAY);
    if let (Some(delay), Some(most)) = (delay, most)
        && delay > most
    {
        out.add(&rules::RESTART, &at.span, format!("the first delay, {delay:?}, is above max_delay, {most:?}"))
            .help("lower `delay`, or raise `max_delay`");
    }
}
