//! The tables of a file, for the rules between them and for the model.

use super::keys::file as keys;
use super::view::{Level, MAX_ENTRIES, View};
use casemate_wire::Name;
use std::ops::Range;
use toml::de::DeTable;

/// The tables of a file. Containers and volumes without a usable name are left out: a finding was noted for each.
pub(super) struct File<'t> {
    pub(super) root: View<'t>,
    /// `[defaults]` alone.
    pub(super) defaults: View<'t>,
    pub(super) registries: Vec<View<'t>>,
    pub(super) volumes: Vec<View<'t>>,
    pub(super) containers: Vec<View<'t>>,
    pub(super) waivers: Vec<View<'t>>,
}

impl<'t> File<'t> {
    pub(super) fn new(table: &'t DeTable<'t>) -> Self {
        let root = View::of(&keys::TABLE, Level::Own, table, 0..0);
        let named = |view: &View<'_>| view.name.as_ref().is_some_and(|name| Name::new(name.value).is_ok());
        let mut waivers = root.tables(&keys::WAIVERS, &keys::WAIVER);
        waivers.truncate(MAX_ENTRIES);
        Self {
            defaults: root.group(&keys::DEFAULTS),
            registries: root.named(&keys::REGISTRIES),
            volumes: root.named(&keys::VOLUMES).into_iter().filter(named).collect(),
            containers: root.named(&keys::CONTAINERS).into_iter().filter(named).collect(),
            waivers,
            root,
        }
    }
}

/// The name that the file gives a table; empty for one that has none.
pub(super) fn name<'t>(view: &View<'t>) -> &'t str {
    view.name.as_ref().map_or("", |name| name.value)
}

/// Where that name stands.
pub(super) fn name_span<'v>(view: &'v View<'_>) -> &'v Range<usize> {
    view.name.as_ref().map_or(&view.span, |name| &name.span)
}
