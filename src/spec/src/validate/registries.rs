//! Registries: one login each, and TLS unless their table says otherwise.

use crate::finding::Findings;
use crate::raw::{RawRegistry, RawSpec};
use crate::rules;

pub(super) fn validate(spec: &RawSpec, out: &mut Findings<'_>) {
    let is_insecure = |registry: &RawRegistry| registry.insecure.as_ref().is_some_and(|insecure| insecure.value);
    for registry in &spec.registries {
        if let (Some(file), Some(credential)) = (&registry.auth_file, &registry.credential) {
            out.add(&rules::REGISTRY_LOGIN, &credential.span, "this registry has a login already")
                .related(&file.span, "here");
        }
        if let Some(insecure) = registry.insecure.as_ref().filter(|insecure| insecure.value) {
            let message =
                "this registry is asked without TLS: whoever is on the way reads what is asked for, the login too";
            out.add(&rules::REGISTRY_INSECURE, &insecure.span, message).help(
                "bytes are proven by their digests all the same; a private certificate authority is given by `ca`",
            );
        }
        for mirror in registry.mirrors.iter().filter(|mirror| !mirror.value.secure) {
            let own = spec.registries.iter().find(|other| other.name.value == mirror.value.registry);
            if !own.is_some_and(is_insecure) {
                out.add(&rules::MIRROR, &mirror.span, "a mirror without TLS has a table that says so").help(format!(
                    "write https://, or add [registries.\"{}\"] with `insecure = true`",
                    mirror.value.registry
                ));
            }
        }
    }
}
