//! Rules that compare values: within a container, between containers, and against the policy.
//!
//! Enters: [`RawSpec`]. Leaves: findings only.

mod limits;
mod mounts;
mod registries;
mod users;
mod waivers;

use super::date::Date;
use super::finding::Findings;
use super::raw::{RawContainer, RawDefaults, RawRestart, RawSpec};
use super::resolve::restart;
use super::rules;

/// Checks the whole file as of a day.
pub(super) fn validate(spec: &RawSpec, today: Date, out: &mut Findings<'_>) {
    containers_are_there(spec, out);
    users::validate(spec, out);
    for container in &spec.containers {
        writable_root(container, &spec.defaults, out);
        mounts::validate(container, out);
        limits::validate(container, spec, out);
        backoff(&container.restart, &spec.defaults.restart, out);
    }
    mounts::volumes(spec, out);
    registries::validate(spec, out);
    backoff(&RawRestart::default(), &spec.defaults.restart, out);
    waivers::validate(spec, today, out);
}

fn containers_are_there(spec: &RawSpec, out: &mut Findings<'_>) {
    if spec.containers.is_empty() && !out.has_errors() {
        out.absent(&rules::MISSING_KEY, &(0..0), "the file has no container").help("add a [containers.NAME]");
    }
}

/// `read_only = false` says what the writes go to; else there is nothing to say.
fn writable_root(container: &RawContainer, defaults: &RawDefaults, out: &mut Findings<'_>) {
    let own = container.read_only.as_ref();
    let read_only = own.map(|own| own.value).or(defaults.read_only).unwrap_or(true);
    match (&container.writable_root, read_only) {
        (Some(root), true) => {
            out.add(
                &rules::WRITABLE_ROOT,
                &root.span,
                "the root is read-only, so nothing is written to a `writable_root`",
            )
            .help("add `read_only = false`, or leave `writable_root` out");
        }
        (None, false) => {
            let span = own.map_or(&container.name.span, |own| &own.span);
            out.absent(&rules::WRITABLE_ROOT, span, "a root that is not read-only says what the writes go to").help(
                "add `writable_root = { type = \"ephemeral\", size = \"64MiB\" }`, or `{ type = \"persistent\" }`",
            );
        }
        _ => {}
    }
}

/// The delays that result from a container's numbers, the defaults' and the built-in ones have to rise.
fn backoff(own: &RawRestart, defaults: &RawRestart, out: &mut Findings<'_>) {
    let resolved = restart(own, defaults);
    let stated = own.max_delay.as_ref().or(own.delay.as_ref());
    let stated = stated.or(defaults.max_delay.as_ref()).or(defaults.delay.as_ref());
    if let Some(stated) = stated.filter(|_| resolved.delay > resolved.max_delay) {
        let (delay, most) = (resolved.delay, resolved.max_delay);
        out.add(&rules::RESTART, &stated.span, format!("the first delay, {delay:?}, is above max_delay, {most:?}"));
    }
}
