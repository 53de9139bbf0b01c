//! seccomp, Landlock, capabilities, masked paths.

use super::{Shape, ValueType, Whole, Words, list, toml_string};
use crate::finding::{Findings, quoted};
use crate::item::Item;
use crate::keys::confinement;
use crate::model::{Landlock, Seccomp};
use crate::values::AbsolutePath;
use crate::{ceiling, rules};
use casemate_wire::Digest;

const BUILT_IN: Words<bool> = Words(&[("casemate:service", true), ("casemate:minimal", false)]);

/// A built-in profile's name, or a table with a file and its digest.
pub(crate) struct SeccompProfile;

impl SeccompProfile {
    const HELP: &str =
        "write `casemate:service`, `casemate:minimal`, or `{ profile = \"app.toml\", sha256 = \"...\" }`";
    const FILE: Whole<Seccomp> = Whole {
        table: &confinement::SECCOMP,
        example: "{ profile = \"app.toml\", sha256 = \"...\" }",
        read: Seccomp::file,
    };
}

impl ValueType for SeccompProfile {
    type Value = Seccomp;

    fn shape(&self) -> Shape {
        Shape::OneOf(vec![BUILT_IN.shape(), Self::FILE.shape()])
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Seccomp> {
        if item.as_table().is_some() {
            return Self::FILE.read(item, out);
        }
        match item.as_str() {
            Some("casemate:service") => return Some(Seccomp::Service),
            Some("casemate:minimal") => return Some(Seccomp::Minimal),
            Some("unconfined") => {
                out.add(&rules::SECCOMP_PROFILE, &item.span, "seccomp cannot be turned off").help(Self::HELP);
            }
            Some(text) => {
                let message = format!("there is no built-in profile {}", quoted(text));
                out.add(&rules::SECCOMP_PROFILE, &item.span, message).help(Self::HELP);
            }
            None => item.wrong_type("a profile", Some(Self::HELP), out),
        }
        None
    }

    fn show(&self, value: &Seccomp) -> String {
        match value {
            Seccomp::Service => BUILT_IN.show(&true),
            Seccomp::Minimal => BUILT_IN.show(&false),
            Seccomp::File { profile, sha256 } => {
                format!("{{ profile = {}, sha256 = \"{}\" }}", toml_string(profile), sha256.hex())
            }
        }
    }
}

/// The path of a profile: absolute, or relative to the directory of the file, and without `..`.
pub(crate) struct ProfilePath;

impl ValueType for ProfilePath {
    type Value = String;

    fn shape(&self) -> Shape {
        Shape::Text { form: "path, absolute or relative to the directory of the file", pattern: "." }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<String> {
        let text = item.string(out)?;
        let absolute = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
        let path = AbsolutePath::new(&absolute)
            .and_then(|path| if path.as_str() == "/" { Err(crate::ValueError("it names no file")) } else { Ok(path) });
        if let Err(error) = &path {
            out.add(&rules::SECCOMP_PROFILE, &item.span, format!("{}: {error}", quoted(text)));
        }
        path.is_ok().then(|| text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        toml_string(value)
    }
}

/// The digest of a file, 64 hexadecimal digits.
pub(crate) struct Sha256;

impl ValueType for Sha256 {
    type Value = Digest;

    fn shape(&self) -> Shape {
        Shape::Text { form: "64 lower-case hexadecimal digits", pattern: "^[0-9a-f]{64}$" }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Digest> {
        let digest = Digest::from_hex(item.string(out)?);
        if digest.is_err() {
            let message = format!("{} is 64 lower-case hexadecimal digits", quoted(item.name));
            out.add(&rules::DIGEST_FORM, &item.span, message).help("`sha256sum FILE` prints them");
        }
        digest.ok()
    }

    fn show(&self, value: &Digest) -> String {
        toml_string(&value.hex())
    }
}

/// `true`, or a table with the lists that replace derived rules.
pub(crate) struct LandlockRules;

impl LandlockRules {
    const LISTS: Whole<Landlock> = Whole {
        table: &confinement::LANDLOCK,
        example: "{ connect_tcp = [5432] }",
        read: |view, _| Some(Landlock::read(view)),
    };
}

impl ValueType for LandlockRules {
    type Value = Landlock;

    fn shape(&self) -> Shape {
        Shape::OneOf(vec![Shape::Fixed("true"), Self::LISTS.shape()])
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Landlock> {
        match item.as_bool() {
            Some(true) => return Some(Landlock::default()),
            Some(false) => {
                out.add(&rules::LANDLOCK_OFF, &item.span, "Landlock cannot be turned off").help(
                    "leave the key out to have the rules derived from the root and the mounts, or list what is allowed",
                );
                return None;
            }
            None => {}
        }
        if item.as_table().is_none() {
            item.wrong_type("true or a table", None, out);
            return None;
        }
        Self::LISTS.read(item, out)
    }

    /// Only the default, which derives all rules, is written from its value.
    fn show(&self, _: &Landlock) -> String {
        "true".to_owned()
    }

    fn text(&self, item: &Item<'_>) -> Option<String> {
        if item.as_table().is_some() { Self::LISTS.text(item) } else { Some("true".to_owned()) }
    }
}

/// Both scopes, in any order: a list without one of them would weaken the container.
pub(crate) struct LandlockScope;

const SCOPES: [&str; 2] = ["signal", "abstract_unix_socket"];
const SCOPE: Words<&str> = Words(&[("signal", "signal"), ("abstract_unix_socket", "abstract_unix_socket")]);

impl ValueType for LandlockScope {
    type Value = ();

    fn shape(&self) -> Shape {
        Shape::List { of: Box::new(SCOPE.shape()), words: "list of both scopes", most: None }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<()> {
        let help = format!("write `{}`, or leave the key out", self.show(&()));
        let elements = item.array("a list of scopes", Some(&help), out)?;
        let named: Vec<_> = elements.iter().map(|element| SCOPE.read(element, out)).collect();
        let complete = SCOPES.iter().all(|scope| named.contains(&Some(*scope)));
        if !complete && named.iter().all(Option::is_some) {
            out.add(&rules::LANDLOCK_OFF, &item.span, "both scopes always hold").help(help);
        }
        complete.then_some(())
    }

    fn show(&self, (): &()) -> String {
        let [signal, socket] = SCOPES;
        format!("[\"{signal}\", \"{socket}\"]")
    }
}

/// A capability below the ceiling, with or without `CAP_`.
pub(crate) struct Capability;

impl ValueType for Capability {
    type Value = u8;

    fn shape(&self) -> Shape {
        let with_prefix = Shape::Text { form: "the same with CAP_ before it", pattern: "^CAP_" };
        Shape::OneOf(vec![Shape::Words(ceiling::capabilities().collect()), with_prefix])
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<u8> {
        let text = item.string(out)?;
        let number = ceiling::capability(text);
        if number.is_none() {
            let list: Vec<_> = ceiling::capabilities().collect();
            let message = format!("no container can have the capability {}", quoted(text));
            out.add(&rules::CAPABILITY, &item.span, message)
                .help(format!("a container can be given {}", list.join(", ")));
        }
        number
    }

    fn show(&self, value: &u8) -> String {
        let name = ceiling::capabilities().find(|name| ceiling::capability(name) == Some(*value));
        toml_string(name.unwrap_or_default())
    }
}

/// `["ALL"]`: every capability is dropped, and there is nothing else to write.
pub(crate) struct CapDrop;

impl ValueType for CapDrop {
    type Value = ();

    fn shape(&self) -> Shape {
        Shape::Fixed("[\"ALL\"]")
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<()> {
        let elements = item.array("[\"ALL\"]", None, out)?;
        let all = matches!(elements.as_slice(), [only] if only.as_str() == Some("ALL"));
        if !all {
            out.add(&rules::CAP_DROP, &item.span, "every capability is dropped, and no other list can be given")
                .help("write `cap_drop = [\"ALL\"]`; name what a container needs in its `security.cap_add`");
        }
        all.then_some(())
    }

    fn show(&self, (): &()) -> String {
        "[\"ALL\"]".to_owned()
    }
}

/// A path of procfs or sysfs, to hide or to make read-only.
pub(crate) struct KernelPath;

impl ValueType for KernelPath {
    type Value = AbsolutePath;

    fn shape(&self) -> Shape {
        Shape::Text { form: "path below /proc or /sys", pattern: "^/(proc|sys)/." }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<AbsolutePath> {
        let path = super::Path.read(item, out)?;
        let whole = matches!(path.as_str(), "/proc" | "/sys");
        if whole || !(path.is_at_or_below("/proc") || path.is_at_or_below("/sys")) {
            let message = format!("{} does not lie below /proc or /sys", quoted(path.as_str()));
            out.add(&rules::MASKED_PATH, &item.span, message)
                .help("remove the path: only paths of procfs and sysfs can be listed here");
            return None;
        }
        Some(path)
    }

    fn show(&self, value: &AbsolutePath) -> String {
        toml_string(value.as_str())
    }
}

/// A list of TCP ports.
pub(crate) const fn ports(example: &'static str) -> super::List<super::Count<u16>> {
    list("a list of TCP ports", example, super::Count::between(1, u16::MAX))
}
