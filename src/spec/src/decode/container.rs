//! One `[containers.NAME]`.

use super::{mounts, process, resources, scalar, security};
use crate::cursor::{At, Cursor, Item};
use crate::finding::{Findings, quoted};
use crate::image_ref::{ImagePin, ImagePinError};
use crate::logging::LogDriver;
use crate::model::User;
use crate::raw::{RawContainer, RawLogging};
use crate::values::{self, NonRootGid, NonRootUid};
use crate::{keys, rules};

/// Reads one container. A container without a usable name is read for its errors only.
pub(super) fn container(item: &Item<'_>, out: &mut Findings<'_>) -> Option<RawContainer> {
    let name = super::name(item.name, &item.key_span, out);
    let mut table = item.table(&keys::CONTAINER, out)?;
    let image = table.require("image", out).and_then(|item| image(&item, out));
    let user = table.require("user", out).and_then(|item| user(&item, out));
    let share_user_with =
        table.take("share_user_with").and_then(|item| item.string(out).map(|name| item.at(name.to_owned())));
    let process = process::process(&mut table, out);
    let read_only = table.take("read_only").and_then(|item| item.boolean(out).map(|value| item.at(value)));
    let writable_root = table.take("writable_root").map(|item| item.at(mounts::writable_root(&item, out)));
    let mounts = mounts::mounts(&mut table, out);
    let devices = table.take("devices").map(|item| mounts::devices(&item, out)).unwrap_or_default();
    let shm_size = table.take("shm_size").and_then(|item| scalar::size(&item, out));
    let sysfs = table.take("sysfs").and_then(|item| item.boolean(out));
    let init = table.take("init").and_then(|item| item.boolean(out));
    let stop_signal = table.take("stop_signal").and_then(|item| process::stop_signal(&item, out));
    let stop_grace_period = table.take("stop_grace_period").and_then(|item| scalar::duration(&item, out));
    let restart = table.take("restart").map(|item| process::restart(&item, out)).unwrap_or_default();
    let resources = table
        .take("resources")
        .and_then(|item| item.table(&keys::RESOURCES, out))
        .map(|table| resources::resources(table, out))
        .unwrap_or_default();
    let security = table
        .take("security")
        .and_then(|item| item.table(&keys::SECURITY, out))
        .map(|table| security::container(table, out))
        .unwrap_or_default();
    let logging = table
        .take("logging")
        .and_then(|item| item.table(&keys::LOGGING, out))
        .map(|table| logging(table, out))
        .unwrap_or_default();
    table.finish(out);
    let read = |name| RawContainer {
        name: At { value: name, span: item.key_span.clone() },
        image,
        user,
        share_user_with,
        process,
        read_only,
        writable_root,
        mounts,
        devices,
        shm_size,
        sysfs,
        init,
        stop_signal,
        stop_grace_period,
        restart,
        resources,
        security,
        logging,
    };
    name.map(read)
}

fn image(item: &Item<'_>, out: &mut Findings<'_>) -> Option<At<ImagePin>> {
    let text = item.string(out)?;
    match ImagePin::parse(text) {
        Ok(pin) => Some(item.at(pin)),
        Err(error) => {
            let (rule, help) = match error {
                ImagePinError::NoDigest => (
                    &rules::IMAGE_DIGEST,
                    Some(format!(
                        "write `{}@sha256:...`: `casemate image inspect NAME` shows the digest",
                        text.escape_default()
                    )),
                ),
                ImagePinError::Digest => (&rules::DIGEST_FORM, None),
                ImagePinError::Registry => {
                    let home = if text.contains('/') { "docker.io" } else { "docker.io/library" };
                    let pinned = format!("{home}/{text}");
                    let help =
                        ImagePin::parse(&pinned).is_ok().then(|| format!("write `{home}/...`, if it is docker's"));
                    (&rules::IMAGE_REFERENCE, help)
                }
                ImagePinError::Repository | ImagePinError::Tag => (&rules::IMAGE_REFERENCE, None),
            };
            out.add(rule, &item.span, error.to_string()).help_if(|| help);
            None
        }
    }
}

/// `uid` or `uid:gid`; a uid alone is the group's number too, as no passwd file is ever read.
fn user(item: &Item<'_>, out: &mut Findings<'_>) -> Option<At<User>> {
    const SHAPE: &str =
        "write the numbers, such as `\"10002:10002\"`; names of an image's passwd file are never looked up";
    if item.as_integer().is_some() {
        item.wrong_type("a string", Some("put it in quotes, as in `\"10002:10002\"`"), out);
        return None;
    }
    let text = item.string(out)?;
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    let (uid, gid) = (values::digits(uid), values::digits(gid));
    if uid == Some(0) || gid == Some(0) || text.split(':').any(|part| part == "root") {
        out.add(&rules::USER_ROOT, &item.span, "a container never runs as root, nor in root's group")
            .help("give a uid and a gid from 1 to 65534, different for each container");
        return None;
    }
    let id = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
    let user = id(uid).and_then(NonRootUid::new).zip(id(gid).and_then(NonRootGid::new));
    let Some((uid, gid)) = user else {
        out.add(&rules::USER_NUMBER, &item.span, format!("{} is no uid:gid from 1 to 65534", quoted(text))).help(SHAPE);
        return None;
    };
    Some(item.at(User { uid, gid }))
}

fn logging(mut table: Cursor<'_>, out: &mut Findings<'_>) -> RawLogging {
    const LEAST: u64 = 64 * 1024;
    let max_size = table.take("max_size").and_then(|item| {
        let size = scalar::size(&item, out)?;
        if size.bytes() < LEAST {
            out.add(&rules::SIZE, &item.span, "a log file is at least 64KiB: it has to hold a few long lines");
        }
        Some(size)
    });
    let driver = table.take("driver").and_then(|item| log_driver(&item, out));
    let max_file = table.take("max_file").and_then(|item| scalar::limit(&item, 1..=1000_u32, out));
    table.finish(out);
    RawLogging { driver, max_size, max_file }
}

/// Where output goes: a container's own key, or that of the defaults.
pub(super) fn log_driver(item: &Item<'_>, out: &mut Findings<'_>) -> Option<LogDriver> {
    let words = [("file", LogDriver::File), ("journald", LogDriver::Journald), ("syslog", LogDriver::Syslog)];
    scalar::word(item, &words, out)
}
