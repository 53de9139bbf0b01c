//! Image, user, CPU time, ulimits, sysctls.

use super::list::{string_entries, string_map_text};
use super::{Count, Path, Shape, ValueType, Whole, name_of, toml_string};
use crate::ceiling::{self, Refusal};
use crate::finding::{Findings, quoted};
use crate::image_ref::{ImagePin, ImagePinError};
use crate::item::{Item, entries};
use crate::keys::confinement;
use crate::model::{Ulimit, User};
use crate::nearest::did_you_mean;
use crate::values::{self, AbsolutePath, CpuList, Cpus, NonRootGid, NonRootUid};
use crate::{names, rules};
use casemate_wire::Name;
use std::collections::BTreeMap;

/// An image, pinned by digest.
pub(crate) struct Image;

impl ValueType for Image {
    type Value = ImagePin;

    fn shape(&self) -> Shape {
        Shape::Text { form: "image: registry/name[:tag]@sha256:HEX", pattern: "@sha256:[0-9a-f]{64}$" }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<ImagePin> {
        let text = item.string(out)?;
        let error = match ImagePin::parse(text) {
            Ok(pin) => return Some(pin),
            Err(error) => error,
        };
        let rule = match error {
            ImagePinError::NoDigest => &rules::IMAGE_DIGEST,
            ImagePinError::Digest => &rules::DIGEST_FORM,
            _ => &rules::IMAGE_REFERENCE,
        };
        let help = || match error {
            ImagePinError::NoDigest => {
                let text = text.escape_default();
                Some(format!("write `{text}@sha256:...`: `casemate lock` finds the digest and writes it"))
            }
            ImagePinError::Registry => {
                let home = if text.contains('/') { "docker.io" } else { "docker.io/library" };
                let pinned = format!("{home}/{text}");
                ImagePin::parse(&pinned).is_ok().then(|| format!("write `{home}/...` for an image of Docker Hub"))
            }
            _ => None,
        };
        out.add(rule, &item.span, error.to_string()).help_if(help);
        None
    }

    fn show(&self, value: &ImagePin) -> String {
        toml_string(&value.to_string())
    }
}

/// `uid` or `uid:gid`. A uid alone is the group's number too: no passwd file is read.
pub(crate) struct UserIds;

impl ValueType for UserIds {
    type Value = User;

    fn shape(&self) -> Shape {
        Shape::Text { form: "uid or uid:gid, each from 1 to 65534", pattern: "^[1-9][0-9]{0,4}(:[1-9][0-9]{0,4})?$" }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<User> {
        const SHAPE: &str = "write the numbers, as in `\"10002:10002\"`: the image's passwd file is never read";
        if item.as_integer().is_some() {
            item.wrong_type("a string", Some("put it in quotes, as in `\"10002:10002\"`"), out);
            return None;
        }
        let text = item.string(out)?;
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        let uid = values::digits(uid);
        let gid = values::digits(gid);
        if uid == Some(0) || gid == Some(0) || text.split(':').any(|part| part == "root") {
            out.add(&rules::USER_ROOT, &item.span, "no container runs as root or in root's group")
                .help("give a uid and a gid from 1 to 65534, different for each container");
            return None;
        }
        let id = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
        let user = id(uid).and_then(NonRootUid::new).zip(id(gid).and_then(NonRootGid::new));
        let Some((uid, gid)) = user else {
            let message = format!("{} is not a uid:gid from 1 to 65534", quoted(text));
            out.add(&rules::USER_NUMBER, &item.span, message).help(SHAPE);
            return None;
        };
        Some(User { uid, gid })
    }

    fn show(&self, value: &User) -> String {
        toml_string(&format!("{}:{}", value.uid.get(), value.gid.get()))
    }
}

/// The name of another container of the file; whether there is one is checked when all are known.
pub(crate) type ContainerName = super::AnyText;

/// A number of CPUs.
pub(crate) struct CpuTime;

impl ValueType for CpuTime {
    type Value = Cpus;

    fn shape(&self) -> Shape {
        Shape::Number { least: 0.01, most: 4096.0 }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Cpus> {
        let Some(count) = item.as_float() else {
            item.wrong_type("a number", Some("write it as in `cpus = 0.5`"), out);
            return None;
        };
        let cpus = Cpus::new(count);
        if cpus.is_none() && (count <= 0.0 || count.is_infinite()) {
            out.add(&rules::LIMIT_ZERO, &item.span, "`cpus` has to be a limit")
                .help("give the number of CPUs whose time it may use, such as 0.5");
        } else if cpus.is_none() {
            out.add(&rules::CPUS, &item.span, "`cpus` is a number from 0.01 to 4096");
        }
        cpus
    }

    fn show(&self, value: &Cpus) -> String {
        format!("{:?}", f64::from(value.quota()) / 100_000.0)
    }
}

/// A list of CPUs as the kernel writes it.
pub(crate) struct CpuSet;

impl ValueType for CpuSet {
    type Value = CpuList;

    fn shape(&self) -> Shape {
        Shape::Text {
            form: "CPU numbers and ranges in rising order",
            pattern: "^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$",
        }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<CpuList> {
        let text = item.string(out)?;
        let list = CpuList::new(text);
        if let Err(error) = list {
            out.add(&rules::CPUSET, &item.span, format!("{}: {error}", quoted(text)));
        }
        list.ok()
    }

    fn show(&self, value: &CpuList) -> String {
        toml_string(value.as_str())
    }
}

/// A block device, by its path on the host.
pub(crate) struct IoDevice;

impl ValueType for IoDevice {
    type Value = AbsolutePath;

    fn shape(&self) -> Shape {
        Shape::Text { form: "path below /dev", pattern: "^/dev/." }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<AbsolutePath> {
        let path = Path.read(item, out)?;
        if !path.is_at_or_below("/dev") || path.as_str() == "/dev" {
            out.add(&rules::IO_LIMIT, &item.span, "the path of a block device lies below /dev");
            return None;
        }
        Some(path)
    }

    fn show(&self, value: &AbsolutePath) -> String {
        toml_string(value.as_str())
    }
}

/// Resource limits of the process by docker's names: `nofile = 1024`, or `nofile = { soft = 1024, hard = 2048 }`.
pub(crate) struct Ulimits;

const ULIMIT_RANGE: Whole<(u64, u64)> =
    Whole { table: &confinement::ULIMIT, example: "{ soft = 1024, hard = 2048 }", read: Ulimit::range };

impl ValueType for Ulimits {
    type Value = Vec<Ulimit>;

    fn shape(&self) -> Shape {
        let value = Shape::OneOf(vec![UlimitNumber.shape(), Shape::Table(&confinement::ULIMIT, None)]);
        Shape::Map { of: Box::new(value), words: "table of ulimits", keys: names::ulimits().collect() }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Vec<Ulimit>> {
        let Some(table) = item.as_table() else {
            item.wrong_type("a table", Some("write it as in `ulimits = { nofile = 1024 }`"), out);
            return None;
        };
        let mut ulimits = Vec::new();
        for entry in entries(table) {
            let resource = names::ulimit(entry.name);
            if resource.is_none() {
                out.add(&rules::ULIMIT, &entry.key_span, format!("there is no ulimit {}", quoted(entry.name)))
                    .help_if(|| did_you_mean(entry.name, names::ulimits()));
            }
            let limits = match entry.as_table() {
                Some(_) => ULIMIT_RANGE.read(&entry, out),
                None => UlimitNumber.read(&entry, out).map(|limit| (limit, limit)),
            };
            if let (Some(resource), Some((soft, hard))) = (resource, limits) {
                ulimits.push(Ulimit { resource, soft, hard });
            }
        }
        Some(ulimits)
    }

    fn show(&self, value: &Vec<Ulimit>) -> String {
        let pair = |limit: &Ulimit| {
            let name = names::ulimits().find(|name| names::ulimit(name) == Some(limit.resource)).unwrap_or_default();
            let soft = limit.soft;
            let hard = limit.hard;
            if soft == hard {
                format!("{name} = {soft}")
            } else {
                format!("{name} = {{ soft = {soft}, hard = {hard} }}")
            }
        };
        let pairs: Vec<String> = value.iter().map(pair).collect();
        if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
    }
}

/// The number of a ulimit. docker's -1, unlimited, is refused.
pub(crate) struct UlimitNumber;

impl ValueType for UlimitNumber {
    type Value = u64;

    fn shape(&self) -> Shape {
        Shape::Integer { least: 0, most: u64::MAX >> 1 }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<u64> {
        match item.as_integer() {
            Some(Some(0)) => Some(0),
            _ => Count::<u64>::limit(1, u64::MAX >> 1).read(item, out),
        }
    }

    fn show(&self, value: &u64) -> String {
        value.to_string()
    }
}

/// Sysctls of the list of reviewed ones, by dotted name.
pub(crate) struct Sysctls;

impl ValueType for Sysctls {
    type Value = BTreeMap<String, String>;

    fn shape(&self) -> Shape {
        let value = Shape::Text { form: "1 to 4 numbers", pattern: "^[0-9]{1,19}( [0-9]{1,19}){0,3}$" };
        Shape::Map { of: Box::new(value), words: "table of sysctls", keys: ceiling::sysctls().collect() }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Self::Value> {
        let mut sysctls = BTreeMap::new();
        for (entry, value) in string_entries(item, out) {
            match ceiling::sysctl(entry.name, &value) {
                Ok(()) => {
                    sysctls.insert(entry.name.to_owned(), value);
                }
                Err(Refusal::Name) => {
                    let message = format!("{} is not on the list of reviewed sysctls", quoted(entry.name));
                    let near = did_you_mean(entry.name, ceiling::sysctls());
                    out.add(&rules::SYSCTL, &entry.key_span, message).help_if(|| {
                        near.or_else(|| Some("policies/ceilings.toml lists the sysctls that can be set".to_owned()))
                    });
                }
                Err(Refusal::Value) => {
                    let name = quoted(entry.name);
                    let message = format!("the value of {name} is 1 to 4 numbers with one blank between them");
                    out.add(&rules::SYSCTL, &entry.span, message);
                }
            }
        }
        Some(sysctls)
    }

    fn show(&self, value: &Self::Value) -> String {
        string_map_text(value)
    }
}

/// The name of the appliance.
pub(crate) struct ApplianceName;

impl ValueType for ApplianceName {
    type Value = Name;

    fn shape(&self) -> Shape {
        Shape::Text { form: "name", pattern: "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Name> {
        name_of(item.string(out)?, &item.span, out)
    }

    fn show(&self, value: &Name) -> String {
        toml_string(value.as_str())
    }
}
