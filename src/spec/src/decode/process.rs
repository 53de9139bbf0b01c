//! What a container executes and how it is kept running.

use super::scalar;
use crate::cursor::{Cursor, Item};
use crate::finding::{Findings, quoted};
use crate::model::{RestartPolicy, Ulimit};
use crate::nearest::did_you_mean;
use crate::raw::{RawProcess, RawRestart};
use crate::values::AbsolutePath;
use crate::{ceiling, keys, rules, words};
use casemate_wire::Name;
use std::collections::BTreeMap;

/// The keys of a container that describe its process.
pub(super) fn process(table: &mut Cursor<'_>, out: &mut Findings<'_>) -> RawProcess {
    RawProcess {
        entrypoint: table.take("entrypoint").and_then(|item| entrypoint(&item, out)),
        command: table.take("command").and_then(|item| command(&item, out)),
        working_dir: table.take("working_dir").and_then(|item| working_dir(&item, out)),
        environment: table.take("environment").map(|item| environment(&item, out)).unwrap_or_default(),
        hostname: table.take("hostname").and_then(|item| hostname(&item, out)),
        labels: table.take("labels").map(|item| labels(&item, out)).unwrap_or_default(),
        ulimits: table.take("ulimits").map(|item| ulimits(&item, out)).unwrap_or_default(),
        sysctls: table.take("sysctls").map(|item| sysctls(&item, out)).unwrap_or_default(),
    }
}

fn command(item: &Item<'_>, out: &mut Findings<'_>) -> Option<Vec<String>> {
    if let Some(text) = item.as_str() {
        let words: Vec<String> = text.split_whitespace().map(|word| format!("{word:?}")).collect();
        let help = format!("no shell reads it: write each word, such as `[{}]`", words.join(", "));
        let help = (text.len() <= 100).then_some(help);
        out.add(&rules::COMMAND, &item.span, format!("{} is a list of words", quoted(item.name))).help_if(|| help);
        return None;
    }
    scalar::strings(item, "write each word as a string of its own", out)
}

fn entrypoint(item: &Item<'_>, out: &mut Findings<'_>) -> Option<Vec<String>> {
    let words = command(item, out)?;
    if words.first().is_none_or(String::is_empty) {
        out.add(&rules::COMMAND, &item.span, "an entrypoint has a first word: the program")
            .help("leave the key out to use the image's entrypoint");
        return None;
    }
    Some(words)
}

fn working_dir(item: &Item<'_>, out: &mut Findings<'_>) -> Option<AbsolutePath> {
    let path = scalar::path(item, out)?;
    // /proc/self/fd/N as a working directory has led out of a container (CVE-2024-21626).
    if ["/proc", "/sys", "/dev"].iter().any(|kernel| path.is_at_or_below(kernel)) {
        out.add(&rules::WORKING_DIR, &item.span, format!("a container does not start in {}", quoted(path.as_str())));
        return None;
    }
    Some(path)
}

fn environment(item: &Item<'_>, out: &mut Findings<'_>) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for (entry, value) in scalar::string_entries(item, out) {
        let name = entry.name;
        let first = name.bytes().next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_');
        if first && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-')) {
            environment.insert(name.to_owned(), value);
        } else {
            out.add(&rules::ENVIRONMENT_NAME, &entry.key_span, format!("{} is no variable's name", quoted(name)));
        }
    }
    environment
}

fn labels(item: &Item<'_>, out: &mut Findings<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (entry, value) in scalar::string_entries(item, out) {
        if entry.name.is_empty() || entry.name.chars().any(char::is_control) {
            out.add(&rules::LABEL, &entry.key_span, format!("{} is no label's name", quoted(entry.name)));
        } else {
            labels.insert(entry.name.to_owned(), value);
        }
    }
    labels
}

/// RFC 1123, and the 64 bytes that the kernel keeps (__NEW_UTS_LEN).
fn hostname(item: &Item<'_>, out: &mut Findings<'_>) -> Option<String> {
    let text = item.string(out)?;
    // A name is one label of a host name.
    if text.len() > 64 || !text.split('.').all(|label| Name::new(label).is_ok()) {
        out.add(&rules::HOSTNAME, &item.span, format!("{} is no host name", quoted(text)))
            .help("use at most 64 characters of a-z, 0-9, `-` and dots between labels");
        return None;
    }
    Some(text.to_owned())
}

/// `nofile = 1024`, or `nofile = { soft = 1024, hard = 2048 }`.
fn ulimits(item: &Item<'_>, out: &mut Findings<'_>) -> Vec<Ulimit> {
    let help = "write it as in `ulimits = { nofile = 1024 }`";
    let mut ulimits = Vec::new();
    for entry in item.entries("a table", Some(help), out).unwrap_or_default() {
        let resource = words::ulimit(entry.name);
        if resource.is_none() {
            out.add(&rules::ULIMIT, &entry.key_span, format!("there is no ulimit {}", quoted(entry.name)))
                .help_if(|| did_you_mean(entry.name, words::ulimits()));
        }
        let limits = match entry.as_table(&keys::ULIMIT) {
            Some(mut table) => {
                let soft = table.require("soft", out).and_then(|item| ulimit(&item, out));
                let hard = table.require("hard", out).and_then(|item| ulimit(&item, out));
                table.finish(out);
                soft.zip(hard)
            }
            None => ulimit(&entry, out).map(|limit| (limit, limit)),
        };
        let (Some(resource), Some((soft, hard))) = (resource, limits) else { continue };
        if soft > hard {
            out.add(&rules::ULIMIT, &entry.span, format!("the soft limit {soft} is above the hard limit {hard}"));
        }
        ulimits.push(Ulimit { resource, soft, hard });
    }
    ulimits
}

/// A number from 0; docker's -1 means unlimited and is refused.
fn ulimit(item: &Item<'_>, out: &mut Findings<'_>) -> Option<u64> {
    if item.as_integer() == Some(Some(0)) {
        return Some(0);
    }
    scalar::limit(item, 1..=u64::MAX >> 1, out)
}

fn sysctls(item: &Item<'_>, out: &mut Findings<'_>) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    for (entry, value) in scalar::string_entries(item, out) {
        match ceiling::sysctl(entry.name, &value) {
            Ok(()) => {
                sysctls.insert(entry.name.to_owned(), value);
            }
            Err(ceiling::Refusal::Name) => {
                let message = format!("{} is not on the list of reviewed sysctls", quoted(entry.name));
                out.add(&rules::SYSCTL, &entry.key_span, message)
                    .help_if(|| did_you_mean(entry.name, ceiling::sysctls()));
            }
            Err(ceiling::Refusal::Value) => {
                let message = format!("{} is set to 1 to 4 numbers with one blank between them", quoted(entry.name));
                out.add(&rules::SYSCTL, &entry.span, message);
            }
        }
    }
    sysctls
}

/// `SIGTERM`, `TERM` or its number.
pub(super) fn stop_signal(item: &Item<'_>, out: &mut Findings<'_>) -> Option<u8> {
    let signal = match item.as_integer() {
        Some(integer) => integer.and_then(|number| u8::try_from(number).ok()).filter(|n| (1..=64).contains(n)),
        None => words::signal(item.string(out)?),
    };
    let Some(signal) = signal else {
        out.add(&rules::SIGNAL, &item.span, "there is no such signal")
            .help_if(|| item.as_str().and_then(words::nearest_signal));
        return None;
    };
    if !words::stops(signal) {
        out.add(&rules::SIGNAL, &item.span, "this signal does not ask a process to stop")
            .help("SIGTERM is the usual one; SIGKILL comes by itself when stop_grace_period is over");
        return None;
    }
    Some(signal)
}

const POLICIES: [(&str, RestartPolicy); 3] =
    [("no", RestartPolicy::No), ("on-failure", RestartPolicy::OnFailure), ("always", RestartPolicy::Always)];

/// A word, or a table with the numbers of the backoff.
pub(super) fn restart(item: &Item<'_>, out: &mut Findings<'_>) -> RawRestart {
    let Some(mut table) = item.as_table(&keys::RESTART) else {
        return RawRestart { policy: restart_policy(item, out), ..RawRestart::default() };
    };
    let restart = RawRestart {
        policy: table.require("policy", out).and_then(|item| restart_policy(&item, out)),
        max_retries: table.take("max_retries").and_then(|item| scalar::limit(&item, 1..=1_000_000, out)),
        delay: table.take("delay").and_then(|item| Some(item.at(scalar::duration(&item, out)?))),
        max_delay: table.take("max_delay").and_then(|item| Some(item.at(scalar::duration(&item, out)?))),
        window: table.take("window").and_then(|item| scalar::duration(&item, out)),
    };
    table.finish(out);
    restart
}

fn restart_policy(item: &Item<'_>, out: &mut Findings<'_>) -> Option<RestartPolicy> {
    if item.as_bool() == Some(false) {
        item.wrong_type("a string", Some("write `restart = \"no\"`"), out);
        return None;
    }
    let help = match item.as_str() {
        Some("unless-stopped") => "write `always`: what was stopped by hand stays stopped here anyway",
        Some(text) if text.starts_with("on-failure:") => "write `{ policy = \"on-failure\", max_retries = 5 }`",
        _ => return scalar::word(item, &POLICIES, out),
    };
    out.add(&rules::WORD, &item.span, "`restart` is one of `no`, `on-failure`, `always`").help(help);
    None
}
