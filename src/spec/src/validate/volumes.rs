//! Named volumes: each that is mounted is in the file, belongs to one user, and each of the file is mounted.

use super::mounts;
use crate::file::{File, name, name_span};
use crate::finding::Findings;
use crate::keys::container as keys;
use crate::model::MountSource;
use crate::nearest::did_you_mean;
use crate::rules;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn validate(file: &File<'_>, out: &mut Findings<'_>) {
    let known: BTreeSet<&str> = file.volumes.iter().map(name).collect();
    let mut used = BTreeSet::new();
    let mut first_user = BTreeMap::new();
    for container in &file.containers {
        let user = container.stated(&keys::USER);
        for source in mounts::sources(container) {
            let MountSource::Volume(volume) = source.value else { continue };
            if !known.contains(volume.as_str()) {
                let names = file.volumes.iter().map(name);
                let add = format!("add `[volumes.{volume}]`");
                let message = format!("there is no volume `{volume}` in the file");
                out.add(&rules::VOLUME_UNKNOWN, &source.span, message)
                    .help_if(|| Some(did_you_mean(volume.as_str(), names).unwrap_or(add)));
            }
            used.insert(volume.to_string());
            let Some(user) = &user else { continue };
            let (first, span) = first_user.entry(volume.clone()).or_insert((user.value, source.span.clone()));
            if *first != user.value {
                let message = format!("the volume `{volume}` belongs to the user of another container");
                out.add(&rules::VOLUME_SHARED, &source.span, message)
                    .related(span, "mounted by that container")
                    .help("give both the same user and say so with `share_user_with`, or use two volumes");
            }
        }
    }
    for volume in file.volumes.iter().filter(|volume| !used.contains(name(volume))) {
        let message = format!("no container mounts the volume `{}`", name(volume));
        out.absent(&rules::VOLUME_UNUSED, name_span(volume), message).help("mount it, or remove its table");
    }
}
