//! Users: one uid, one container; two containers only where the file says so.

use crate::file::{File, name, name_span};
use crate::finding::{Findings, quoted};
use crate::item::At;
use crate::keys::container as keys;
use crate::model::User;
use crate::nearest::did_you_mean;
use crate::rules;
use crate::view::View;
use std::collections::BTreeMap;

/// A container's name, its user, and the container whose user it shares.
struct Member<'f, 't> {
    view: &'f View<'t>,
    user: Option<At<User>>,
    shares: Option<At<String>>,
}

pub(super) fn validate(file: &File<'_>, out: &mut Findings<'_>) {
    let member = |view| Member { view, user: view.stated(&keys::USER), shares: view.stated(&keys::SHARE_USER_WITH) };
    let members: Vec<_> = file.containers.iter().map(member).collect();
    let by_name: BTreeMap<&str, &Member<'_, '_>> = members.iter().map(|member| (name(member.view), member)).collect();
    for member in &members {
        shares(member, &members, &by_name, out);
    }
    let mut first_of: BTreeMap<u32, &Member<'_, '_>> = BTreeMap::new();
    for member in &members {
        let Some(user) = &member.user else { continue };
        let uid = user.value.uid.get();
        let first = *first_of.entry(uid).or_insert(member);
        if owner(first) != owner(member) {
            let other = name(first.view);
            let span = first.user.as_ref().map_or(name_span(first.view), |user| &user.span);
            out.add(&rules::USER_SHARED, &user.span, format!("uid {uid} is the user of container `{other}` already"))
                .related(span, format!("the user of `{other}`"))
                .help(format!("give it another uid, or add `share_user_with = \"{}\"`", owner(first)));
        }
    }
}

/// The container whose user a container has: itself where it shares none.
fn owner<'m>(member: &'m Member<'_, '_>) -> &'m str {
    member.shares.as_ref().map_or_else(|| name(member.view), |other| &other.value)
}

/// `share_user_with` names another container, which has the same uid and shares no user itself.
fn shares(
    member: &Member<'_, '_>,
    members: &[Member<'_, '_>],
    by_name: &BTreeMap<&str, &Member<'_, '_>>,
    out: &mut Findings<'_>,
) {
    let Some(shared) = &member.shares else { return };
    let own_name = name(member.view);
    let Some(other) = by_name.get(shared.value.as_str()) else {
        let others = members.iter().map(|other| name(other.view)).filter(|other| *other != own_name);
        let message = format!("there is no container {}", quoted(&shared.value));
        out.add(&rules::CONTAINER_UNKNOWN, &shared.span, message).help_if(|| did_you_mean(&shared.value, others));
        return;
    };
    if shared.value == own_name {
        out.add(&rules::USER_SHARED, &shared.span, "a container cannot share a user with itself")
            .help("name the other container, or remove the key");
    } else if let Some(third) = &other.shares {
        let message = format!("`{}` shares the user of another container itself", shared.value);
        out.add(&rules::USER_SHARED, &shared.span, message)
            .related(&third.span, "shared here")
            .help("name the container whose user it is in each of them");
    } else if let (Some(own), Some(theirs)) = (&member.user, &other.user)
        && own.value.uid != theirs.value.uid
    {
        let message = format!("the user differs from that of `{}`, with which it is shared", shared.value);
        out.add(&rules::USER_SHARED, &own.span, message)
            .related(&theirs.span, format!("the user of `{}`", shared.value))
            .help("give both containers the same uid");
    }
}
