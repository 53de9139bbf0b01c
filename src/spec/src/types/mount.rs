//! A tmpfs in docker's form, one string: `/tmp:size=16MiB,noexec,mode=1777,nr_inodes=4096`.

use super::scalar::show_size;
use super::{Path, Shape, ValueType, toml_string};
use crate::finding::{Findings, quoted};
use crate::item::Item;
use crate::model::Mount;
use crate::nearest::did_you_mean;
use crate::rules;
use crate::values::{self, AbsolutePath, ByteSize};

/// Inodes of a tmpfs for which the file gives no number: one for each page of its size, as no file takes less; bounded.
pub(crate) fn default_inodes(size: ByteSize) -> u64 {
    (size.bytes() / 4096).clamp(64, 1 << 20)
}

/// A tmpfs as one string. nosuid and nodev always hold and may be written.
pub(crate) struct TmpfsMount;

/// The options of one string.
#[derive(Default)]
struct Options<'t> {
    size: Option<ByteSize>,
    inodes: Option<u64>,
    mode: Option<u32>,
    seen: Vec<&'t str>,
}

impl TmpfsMount {
    /// Mode of a tmpfs for which the file gives none.
    pub(crate) const MODE: u32 = 0o1777;

    /// The path in the container, where it can be read, whatever the options are.
    pub(crate) fn target(item: &Item<'_>) -> Option<AbsolutePath> {
        AbsolutePath::new(item.as_str()?.split(':').next()?).ok()
    }
}

impl ValueType for TmpfsMount {
    type Value = Mount;

    fn shape(&self) -> Shape {
        Shape::Text { form: "tmpfs: PATH:size=SIZE[,OPTION...]", pattern: "^/[^:]+:(.*,)?size=" }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Mount> {
        let text = item.string(out)?;
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let target = Path::in_text(target, item, out);
        let mut read = Options::default();
        for option in options.split(',').filter(|_| !options.is_empty()) {
            read.take(option, item, out);
        }
        let exec = read.seen.contains(&"exec");
        if exec && read.seen.contains(&"noexec") {
            out.add(&rules::MOUNT_OPTION, &item.span, "exec and noexec exclude each other")
                .help("write one of the two");
        }
        if !read.seen.contains(&"size") {
            let path = target.as_ref().map_or("/tmp", AbsolutePath::as_str);
            out.add(&rules::TMPFS_SIZE, &item.span, "a tmpfs without a size could take half of the host's memory")
                .help(format!("add one, as in `{path}:size=16MiB`"));
        }
        let size = read.size?;
        let inodes = read.inodes.unwrap_or_else(|| default_inodes(size));
        Some(Mount::Tmpfs { target: target?, size, inodes, mode: read.mode.unwrap_or(Self::MODE), exec })
    }

    fn show(&self, value: &Mount) -> String {
        let Mount::Tmpfs { target, size, inodes, mode, exec } = value else { return String::new() };
        let exec = if *exec { "exec" } else { "noexec" };
        let size = show_size(size.bytes());
        toml_string(&format!("{target}:size={size},nr_inodes={inodes},mode={mode:o},{exec}"))
    }
}

impl<'t> Options<'t> {
    fn take(&mut self, option: &'t str, item: &Item<'_>, out: &mut Findings<'_>) {
        let (key, value) = option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value)));
        if self.seen.contains(&key) {
            out.add(&rules::MOUNT_OPTION, &item.span, format!("the option {} is given twice", quoted(key)));
        }
        self.seen.push(key);
        match (key, value) {
            ("size", Some(value)) => self.size = size(value, item, out),
            ("nr_inodes", Some(value)) => self.inodes = inodes(value, item, out),
            ("mode", Some(value)) => self.mode = mode(value, item, out),
            ("exec" | "noexec" | "nosuid" | "nodev" | "rw", None) => {}
            _ => {
                let known = ["size", "nr_inodes", "mode", "exec", "noexec", "nosuid", "nodev"];
                out.add(&rules::MOUNT_OPTION, &item.span, format!("a tmpfs has no option {}", quoted(option)))
                    .help_if(|| did_you_mean(key, known));
            }
        }
    }
}

fn size(text: &str, item: &Item<'_>, out: &mut Findings<'_>) -> Option<ByteSize> {
    match values::bytes(text).map(ByteSize::new) {
        Ok(Some(size)) => return Some(size),
        Ok(None) => {
            out.add(&rules::LIMIT_ZERO, &item.span, "the size of a tmpfs has to be a limit")
                .help("give a size above 0");
        }
        Err(error) => {
            out.add(&rules::SIZE, &item.span, format!("{} is not a size: {error}", quoted(text)));
        }
    }
    None
}

fn inodes(text: &str, item: &Item<'_>, out: &mut Findings<'_>) -> Option<u64> {
    match values::digits(text) {
        Some(0) => {
            out.add(&rules::LIMIT_ZERO, &item.span, "nr_inodes has to be a limit").help("give a number above 0");
        }
        Some(count) => return Some(count),
        None => {
            out.add(&rules::NUMBER, &item.span, format!("nr_inodes is a number, not {}", quoted(text)));
        }
    }
    None
}

fn mode(text: &str, item: &Item<'_>, out: &mut Findings<'_>) -> Option<u32> {
    let octal = !text.is_empty() && text.len() <= 4 && text.bytes().all(|c| (b'0'..=b'7').contains(&c));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= TmpfsMount::MODE);
    if mode.is_none() {
        out.add(&rules::MOUNT_OPTION, &item.span, format!("{} is not an octal mode up to 1777", quoted(text)));
    }
    mode
}
