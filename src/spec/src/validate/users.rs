//! One uid, one container; two only where the file says so.

use crate::finding::{Findings, quoted};
use crate::nearest::did_you_mean;
use crate::raw::{RawContainer, RawSpec};
use crate::rules;
use std::collections::BTreeMap;

pub(super) fn validate(spec: &RawSpec, out: &mut Findings<'_>) {
    for container in &spec.containers {
        shares(container, spec, out);
    }
    let mut first_of: BTreeMap<u32, &RawContainer> = BTreeMap::new();
    for container in &spec.containers {
        let Some(user) = &container.user else { continue };
        let first = *first_of.entry(user.value.uid.get()).or_insert(container);
        if owner(first) != owner(container) {
            let (name, uid) = (&first.name.value, user.value.uid.get());
            let span = first.user.as_ref().map_or(&first.name.span, |user| &user.span);
            out.add(&rules::USER_SHARED, &user.span, format!("uid {uid} is the user of container `{name}` already"))
                .related(span, format!("`{name}` has it here"))
                .help(format!("give it a uid of its own, or say `share_user_with = \"{}\"`", owner(first)));
        }
    }
}

/// The container whose user this one has: its own where it shares none.
fn owner(container: &RawContainer) -> &str {
    match &container.share_user_with {
        Some(other) => &other.value,
        None => container.name.value.as_str(),
    }
}

/// `share_user_with` names another container, which has the same uid and shares with nobody itself.
fn shares(container: &RawContainer, spec: &RawSpec, out: &mut Findings<'_>) {
    let Some(shared) = &container.share_user_with else { return };
    let names = spec.containers.iter().map(|other| other.name.value.as_str());
    let Some(other) = spec.containers.iter().find(|other| other.name.value.as_str() == shared.value) else {
        out.add(&rules::CONTAINER_UNKNOWN, &shared.span, format!("there is no container {}", quoted(&shared.value)))
            .help_if(|| did_you_mean(&shared.value, names.filter(|name| *name != container.name.value.as_str())));
        return;
    };
    if other.name.value == container.name.value {
        out.add(&rules::USER_SHARED, &shared.span, "a container does not share with itself");
    } else if let Some(third) = &other.share_user_with {
        out.add(&rules::USER_SHARED, &shared.span, format!("`{}` shares a user itself", shared.value))
            .related(&third.span, "here")
            .help("let all name the one container whose user it is");
    } else if let (Some(own), Some(theirs)) = (&container.user, &other.user)
        && own.value.uid != theirs.value.uid
    {
        out.add(
            &rules::USER_SHARED,
            &own.span,
            format!("this is not the uid of `{}`, which it is to share", shared.value),
        )
        .related(&theirs.span, format!("`{}` has this one", shared.value));
    }
}
