//! What a container sees of files besides its image: the writable root, tmpfs, volumes, binds, devices.

use super::scalar;
use crate::cursor::{At, Cursor, Item};
use crate::finding::{Findings, quoted};
use crate::model::{Mount, Root};
use crate::nearest::did_you_mean;
use crate::raw::{RawDevice, RawMount, RawSource};
use crate::values::{self, AbsolutePath, ByteSize};
use crate::{keys, rules};

/// Inodes of a tmpfs that says none: one for each page of its size, as no smaller file uses less; bounded both ways.
fn default_inodes(size: ByteSize) -> u64 {
    (size.bytes() / 4096).clamp(64, 1 << 20)
}

/// `{ type = "ephemeral", size = "64MiB" }` or `{ type = "persistent" }`.
pub(super) fn writable_root(item: &Item<'_>, out: &mut Findings<'_>) -> Option<Root> {
    let mut table = item.table(&keys::WRITABLE_ROOT, out)?;
    let kind = table
        .require("type", out)
        .and_then(|item| scalar::word(&item, &[("ephemeral", true), ("persistent", false)], out));
    let size_item = table.take("size");
    let size = size_item.as_ref().and_then(|item| scalar::size(item, out));
    let inodes_item = table.take("nr_inodes");
    let inodes = inodes_item.as_ref().and_then(|item| scalar::limit(item, 1..=u64::MAX >> 1, out));
    table.finish(out);
    if kind? {
        if size_item.is_none() {
            out.absent(&rules::TMPFS_SIZE, &item.span, "an ephemeral root is a tmpfs and has a size")
                .help("add `size = \"64MiB\"`");
        }
        let size = size?;
        return Some(Root::Ephemeral { size, inodes: inodes.unwrap_or_else(|| default_inodes(size)) });
    }
    for item in size_item.iter().chain(&inodes_item) {
        out.add(&rules::MOUNT_OPTION, &item.key_span, format!("a persistent root has no `{}`", item.name));
    }
    Some(Root::Persistent)
}

/// The keys `tmpfs` and `volumes`, in this order.
pub(super) fn mounts(table: &mut Cursor<'_>, out: &mut Findings<'_>) -> Vec<RawMount> {
    let mut mounts = Vec::new();
    if let Some(item) = table.take("tmpfs") {
        let help = "write it as in `[\"/tmp:size=16MiB\"]`";
        for element in item.array("a list of tmpfs mounts", Some(help), out).unwrap_or_default() {
            mounts.extend(tmpfs(&element, out));
        }
    }
    if let Some(item) = table.take("volumes") {
        let help = "write it as in `[{ type = \"volume\", source = \"data\", target = \"/data\" }]`";
        for element in item.array("a list of tables", Some(help), out).unwrap_or_default() {
            if element.as_str().is_some() {
                element.wrong_type("a table", Some(help), out);
            } else if let Some(table) = element.table(&keys::MOUNT, out) {
                mounts.push(volume(table, out));
            }
        }
    }
    mounts
}

/// `/tmp:size=16MiB,noexec,mode=1777,nr_inodes=4096`, docker's form. nosuid and nodev are always so and may be written.
fn tmpfs(item: &Item<'_>, out: &mut Findings<'_>) -> Option<RawMount> {
    let text = item.string(out)?;
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let target = scalar::path_from(target, item, out);
    let (mut size, mut inodes, mut mode, mut exec) = (None, None, 0o1777, false);
    let mut seen: Vec<&str> = Vec::new();
    for option in options.split(',').filter(|_| !options.is_empty()) {
        let (key, value) = option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value)));
        if seen.contains(&key) {
            out.add(&rules::MOUNT_OPTION, &item.span, format!("the option {} stands here twice", quoted(key)));
        }
        seen.push(key);
        match (key, value) {
            ("size", Some(value)) => size = tmpfs_size(value, item, out),
            ("nr_inodes", Some(value)) => inodes = tmpfs_inodes(value, item, out),
            ("mode", Some(value)) => mode = tmpfs_mode(value, item, out).unwrap_or(mode),
            ("exec", None) => exec = true,
            ("noexec" | "nosuid" | "nodev" | "rw", None) => {}
            _ => {
                let known = ["size", "nr_inodes", "mode", "exec", "noexec", "nosuid", "nodev"];
                out.add(&rules::MOUNT_OPTION, &item.span, format!("a tmpfs has no option {}", quoted(option)))
                    .help_if(|| did_you_mean(key, known));
            }
        }
    }
    if seen.contains(&"exec") && seen.contains(&"noexec") {
        out.add(&rules::MOUNT_OPTION, &item.span, "exec and noexec do not go together");
    }
    if !seen.contains(&"size") {
        out.add(&rules::TMPFS_SIZE, &item.span, "a tmpfs without a size could take half of the host's memory")
            .help(format!("add one, as in `{}:size=16MiB`", target.as_ref().map_or("/tmp", AbsolutePath::as_str)));
    }
    let inodes = |size| inodes.unwrap_or_else(|| default_inodes(size));
    let whole = target.clone().zip(size);
    let mount = whole.map(|(target, size)| Mount::Tmpfs { target, size, inodes: inodes(size), mode, exec });
    Some(RawMount { source: None, target: target.map(|target| item.at(target)), mount })
}

fn tmpfs_size(text: &str, item: &Item<'_>, out: &mut Findings<'_>) -> Option<ByteSize> {
    match values::bytes(text).map(ByteSize::new) {
        Ok(Some(size)) => Some(size),
        Ok(None) => {
            out.add(&rules::LIMIT_ZERO, &item.span, "the size of a tmpfs has to be a real limit");
            None
        }
        Err(error) => {
            out.add(&rules::SIZE, &item.span, format!("{} is no size: {error}", quoted(text)));
            None
        }
    }
}

fn tmpfs_inodes(text: &str, item: &Item<'_>, out: &mut Findings<'_>) -> Option<u64> {
    match values::digits(text) {
        Some(0) => {
            out.add(&rules::LIMIT_ZERO, &item.span, "nr_inodes has to be a real limit");
            None
        }
        Some(count) => Some(count),
        None => {
            out.add(&rules::NUMBER, &item.span, format!("nr_inodes is a number, not {}", quoted(text)));
            None
        }
    }
}

fn tmpfs_mode(text: &str, item: &Item<'_>, out: &mut Findings<'_>) -> Option<u32> {
    let octal = !text.is_empty() && text.len() <= 4 && text.bytes().all(|c| (b'0'..=b'7').contains(&c));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o1777);
    if mode.is_none() {
        out.add(&rules::MOUNT_OPTION, &item.span, format!("{} is no octal mode up to 1777", quoted(text)));
    }
    mode
}

/// A table of `volumes`.
fn volume(mut table: Cursor<'_>, out: &mut Findings<'_>) -> RawMount {
    let kinds = [("volume", Kind::Volume), ("bind", Kind::Bind), ("tmpfs", Kind::Tmpfs)];
    let kind = table.require("type", out).and_then(|item| scalar::word(&item, &kinds, out));
    let target_item = table.require("target", out);
    let target = target_item.and_then(|item| Some(item.at(scalar::path(&item, out)?)));
    let source_item = table.take("source");
    let read_only_item = table.take("read_only");
    let read_only = read_only_item.as_ref().and_then(|item| item.boolean(out));
    let exec = table.take("exec").and_then(|item| item.boolean(out)).unwrap_or(false);
    let size_item = table.take("size");
    let size = size_item.as_ref().and_then(|item| scalar::size(item, out));
    let span = table.span.clone();
    table.finish(out);

    let Some(kind) = kind else { return RawMount { source: None, target, mount: None } };
    let stray = match kind {
        Kind::Tmpfs => [source_item.as_ref(), read_only_item.as_ref()],
        Kind::Volume | Kind::Bind => [size_item.as_ref(), None],
    };
    for stray in stray.into_iter().flatten() {
        out.add(&rules::MOUNT_OPTION, &stray.key_span, format!("a {} has no `{}`", kind.word(), stray.name));
    }
    if kind != Kind::Tmpfs && source_item.is_none() {
        out.absent(&rules::MISSING_KEY, &span, format!("a {} has a `source`", kind.word()));
    }
    if kind == Kind::Tmpfs && size_item.is_none() {
        out.absent(&rules::TMPFS_SIZE, &span, "a tmpfs without a size could take half of the host's memory")
            .help("add `size = \"16MiB\"`");
    }
    let source = source_item.filter(|_| kind != Kind::Tmpfs).and_then(|item| source(kind, &item, out));
    let whole = || {
        let target = target.as_ref()?.value.clone();
        Some(match (kind, source.as_ref().map(|source| &source.value)) {
            (Kind::Tmpfs, _) => Mount::Tmpfs { target, size: size?, inodes: default_inodes(size?), mode: 0o1777, exec },
            (_, Some(RawSource::Volume(name))) => {
                Mount::Volume { source: name.clone(), target, read_only: read_only.unwrap_or(false), exec }
            }
            (_, Some(RawSource::Bind(path))) => {
                Mount::Bind { source: path.clone(), target, read_only: read_only.unwrap_or(true), exec }
            }
            (_, None) => return None,
        })
    };
    let mount = whole();
    RawMount { source, target, mount }
}

fn source(kind: Kind, item: &Item<'_>, out: &mut Findings<'_>) -> Option<At<RawSource>> {
    let source = match kind {
        Kind::Bind => RawSource::Bind(scalar::path(item, out)?),
        _ => RawSource::Volume(super::name(item.string(out)?, &item.span, out)?),
    };
    Some(item.at(source))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Volume,
    Bind,
    Tmpfs,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Bind => "bind",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// `{ source = "/dev/x", target = "/dev/y", permissions = "rw" }`; the target is the source where it is not given.
pub(super) fn devices(item: &Item<'_>, out: &mut Findings<'_>) -> Vec<RawDevice> {
    let help = "write it as in `[{ source = \"/dev/ttyS0\", permissions = \"rw\" }]`";
    let mut devices = Vec::new();
    for element in item.array("a list of tables", Some(help), out).unwrap_or_default() {
        let Some(mut table) = element.table(&keys::DEVICE, out) else { continue };
        let source = table.require("source", out).and_then(|item| scalar::path(&item, out));
        let target_item = table.take("target");
        let target = match &target_item {
            Some(item) => scalar::path(item, out),
            None => source.clone(),
        };
        let write = table
            .take("permissions")
            .map_or(Some(false), |item| scalar::word(&item, &[("r", false), ("rw", true)], out));
        table.finish(out);
        devices.push(RawDevice { span: element.span.clone(), source, target, write });
    }
    devices
}
