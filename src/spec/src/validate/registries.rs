//! Registries: one login each, and TLS unless their table says otherwise.

use crate::file::{File, name};
use crate::finding::Findings;
use crate::keys::file as keys;
use crate::rules;
use crate::view::View;

pub(super) fn validate(file: &File<'_>, out: &mut Findings<'_>) {
    for registry in &file.registries {
        one_login(registry, out);
        if let Some(insecure) = registry.stated(&keys::INSECURE).filter(|insecure| insecure.value) {
            let message = "this registry is reached without TLS: every host on the way can read requests and the login";
            out.add(&rules::REGISTRY_INSECURE, &insecure.span, message)
                .help("bytes are proven by digest all the same; `ca` names a private certificate authority");
        }
        mirrors(registry, file, out);
    }
}

fn one_login(registry: &View<'_>, out: &mut Findings<'_>) {
    if let (Some(first), Some(second)) = (registry.own(&keys::AUTH_FILE), registry.own(&keys::CREDENTIAL)) {
        out.add(&rules::REGISTRY_LOGIN, &second.span, "this registry has a login already")
            .related(&first.span, "the login")
            .help("remove one of the two");
    }
}

fn mirrors(registry: &View<'_>, file: &File<'_>, out: &mut Findings<'_>) {
    let Some(list) = registry.own(&keys::MIRRORS) else { return };
    for mirror in keys::MIRRORS.of.elements(&list, &mut Findings::silent()).unwrap_or_default() {
        let host = &mirror.value.registry;
        let own = file.registries.iter().find(|other| name(other) == host);
        let insecure = own.is_some_and(|own| own.get(&keys::INSECURE) == Some(true));
        if !mirror.value.secure && !insecure {
            let message = "a mirror without TLS needs a table that allows it";
            out.add(&rules::MIRROR, &mirror.span, message)
                .help(format!("write https://, or add [registries.\"{host}\"] with `insecure = true`"));
        }
    }
}
