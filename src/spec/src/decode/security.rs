//! `[containers.NAME.security]` and `[defaults.security]`.

use super::scalar;
use crate::cursor::{Cursor, Item};
use crate::finding::{Findings, quoted};
use crate::model::{Landlock, Seccomp};
use crate::raw::RawSecurity;
use crate::values::AbsolutePath;
use crate::{ceiling, keys, rules};
use casemate_wire::Digest;

/// What every container gets that says nothing else; capabilities are each container's own.
pub(super) fn defaults(mut table: Cursor<'_>, out: &mut Findings<'_>) -> RawSecurity {
    let security = shared(&mut table, out);
    table.finish(out);
    security
}

pub(super) fn container(mut table: Cursor<'_>, out: &mut Findings<'_>) -> RawSecurity {
    let mut security = shared(&mut table, out);
    security.cap_add = table.take("cap_add").map(|item| cap_add(&item, out)).unwrap_or_default();
    table.finish(out);
    security
}

fn shared(table: &mut Cursor<'_>, out: &mut Findings<'_>) -> RawSecurity {
    RawSecurity {
        seccomp: table.take("seccomp").and_then(|item| seccomp(&item, out)),
        landlock: table.take("landlock").and_then(|item| landlock(&item, out)),
        masked_paths: table.take("masked_paths").map(|item| masked_paths(&item, out)).unwrap_or_default(),
        cap_add: Vec::new(),
    }
}

/// A built-in profile's name, or a file and its digest.
fn seccomp(item: &Item<'_>, out: &mut Findings<'_>) -> Option<Seccomp> {
    const HELP: &str =
        "write `casemate:service`, `casemate:minimal`, or `{ profile = \"app.toml\", sha256 = \"...\" }`";
    if let Some(mut table) = item.as_table(&keys::SECCOMP) {
        let profile = table.require("profile", out).and_then(|item| profile(&item, out));
        let sha256 = table.require("sha256", out).and_then(|item| sha256(&item, out));
        table.finish(out);
        return profile.zip(sha256).map(|(profile, sha256)| Seccomp::File { profile, sha256 });
    }
    match item.as_str() {
        Some("casemate:service") => return Some(Seccomp::Service),
        Some("casemate:minimal") => return Some(Seccomp::Minimal),
        Some("unconfined") => {
            out.add(&rules::SECCOMP_PROFILE, &item.span, "seccomp cannot be turned off").help(HELP);
        }
        Some(text) => {
            out.add(&rules::SECCOMP_PROFILE, &item.span, format!("there is no built-in profile {}", quoted(text)))
                .help(HELP);
        }
        None => item.wrong_type("a profile", Some(HELP), out),
    }
    None
}

/// A path, absolute or relative to the file's directory, and never out of it by `..`.
fn profile(item: &Item<'_>, out: &mut Findings<'_>) -> Option<String> {
    let text = item.string(out)?;
    let absolute = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
    if let Err(error) = AbsolutePath::new(&absolute)
        .and_then(|path| if path.as_str() == "/" { Err(crate::ValueError("it names no file")) } else { Ok(path) })
    {
        out.add(&rules::SECCOMP_PROFILE, &item.span, format!("{}: {error}", quoted(text)));
        return None;
    }
    Some(text.to_owned())
}

fn sha256(item: &Item<'_>, out: &mut Findings<'_>) -> Option<Digest> {
    let digest = Digest::from_hex(item.string(out)?);
    if digest.is_err() {
        out.add(&rules::DIGEST_FORM, &item.span, "`sha256` is 64 lower-case hexadecimal digits");
    }
    digest.ok()
}

/// `true`, or the lists that narrow it.
fn landlock(item: &Item<'_>, out: &mut Findings<'_>) -> Option<Landlock> {
    match item.as_bool() {
        Some(true) => return Some(Landlock::default()),
        Some(false) => {
            out.add(&rules::LANDLOCK_OFF, &item.span, "Landlock cannot be turned off")
                .help("leave the key out: the rules are derived from the root and the mounts; or list what is allowed");
            return None;
        }
        None => {}
    }
    let Some(mut table) = item.as_table(&keys::LANDLOCK) else {
        item.wrong_type("true or a table", None, out);
        return None;
    };
    let mut list = |key| {
        let paths = scalar::paths(&table.take(key)?, out)?;
        Some(paths.into_iter().map(|path| path.value).collect())
    };
    let (read, write, execute) = (list("read"), list("write"), list("execute"));
    let bind_tcp = table.take("bind_tcp").and_then(|item| ports(&item, out));
    let connect_tcp = table.take("connect_tcp").and_then(|item| ports(&item, out));
    if let Some(item) = table.take("scope") {
        scope(&item, out);
    }
    table.finish(out);
    Some(Landlock { read, write, execute, bind_tcp, connect_tcp })
}

/// `scope` says what is always so; a list that leaves one out would weaken it.
fn scope(item: &Item<'_>, out: &mut Findings<'_>) {
    let scopes = [("signal", "signal"), ("abstract_unix_socket", "abstract_unix_socket")];
    let help = "write `[\"signal\", \"abstract_unix_socket\"]`, or leave the key out";
    let Some(elements) = item.array("a list of scopes", Some(help), out) else { return };
    let named: Vec<_> = elements.iter().map(|element| scalar::word(element, &scopes, out)).collect();
    let complete = scopes.iter().all(|(scope, _)| named.contains(&Some(*scope)));
    if !complete && named.iter().all(Option::is_some) {
        out.add(&rules::LANDLOCK_OFF, &item.span, "both scopes are always on").help(help);
    }
}

fn ports(item: &Item<'_>, out: &mut Findings<'_>) -> Option<Vec<u16>> {
    let elements = item.array("a list of ports", Some("write it as in `[443, 5432]`"), out)?;
    Some(elements.iter().filter_map(|element| scalar::integer(element, 1..=u16::MAX, out)).collect())
}

fn cap_add(item: &Item<'_>, out: &mut Findings<'_>) -> Vec<u8> {
    let mut capabilities = Vec::new();
    let help = "write it as in `[\"NET_BIND_SERVICE\"]`";
    for element in item.array("a list of capabilities", Some(help), out).unwrap_or_default() {
        let Some(text) = element.string(out) else { continue };
        match ceiling::capability(text) {
            Some(number) if capabilities.contains(&number) => {
                out.add(&rules::CAPABILITY, &element.span, format!("{} stands here twice", quoted(text)));
            }
            Some(number) => capabilities.push(number),
            None => {
                let list: Vec<_> = ceiling::capabilities().collect();
                out.add(&rules::CAPABILITY, &element.span, format!("{} is not within the ceiling", quoted(text)))
                    .help(format!("a container can be given {}", list.join(", ")));
            }
        }
    }
    capabilities
}

fn masked_paths(item: &Item<'_>, out: &mut Findings<'_>) -> Vec<AbsolutePath> {
    let mut paths = Vec::new();
    for path in scalar::paths(item, out).unwrap_or_default() {
        let text = path.value.as_str();
        let whole = matches!(text, "/proc" | "/sys");
        if whole || !(path.value.is_at_or_below("/proc") || path.value.is_at_or_below("/sys")) {
            out.add(&rules::MASKED_PATH, &path.span, format!("{} does not lie below /proc or /sys", quoted(text)))
                .help("files of the image are read-only already; what a container must not see does not belong in its image");
        } else {
            paths.push(path.value);
        }
    }
    paths
}
