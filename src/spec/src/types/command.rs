//! What a container executes: command, environment, host name, stop signal, restart policy.

use super::list::{string_entries, string_map_text};
use super::{Shape, ValueType, Words, toml_string};
use crate::finding::{Findings, quoted};
use crate::item::Item;
use crate::model::RestartPolicy;
use crate::values::AbsolutePath;
use crate::{names, rules};
use casemate_wire::Name;
use std::collections::BTreeMap;

/// The words of an entrypoint or a command.
pub(crate) enum Command {
    /// Has a first word: the program.
    Entrypoint,
    /// May be empty.
    Arguments,
}

impl ValueType for Command {
    type Value = Vec<String>;

    fn shape(&self) -> Shape {
        let word = Box::new(Shape::Text { form: "text", pattern: "" });
        Shape::List { of: word, words: "list of words", most: None }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Vec<String>> {
        if let Some(text) = item.as_str() {
            let words: Vec<String> = text.split_whitespace().map(toml_string).collect();
            let help = format!("no shell splits it: write each word, as in `[{}]`", words.join(", "));
            out.add(&rules::COMMAND, &item.span, format!("{} is a list of words", quoted(item.name)))
                .help_if(|| (text.len() <= 100).then_some(help));
            return None;
        }
        let elements = item.array("a list of strings", Some("write each word as a string of its own"), out)?;
        let words: Vec<_> = elements.iter().map(|element| element.string(out).map(str::to_owned)).collect();
        let words: Vec<String> = words.into_iter().collect::<Option<_>>()?;
        if matches!(self, Self::Entrypoint) && words.first().is_none_or(String::is_empty) {
            out.add(&rules::COMMAND, &item.span, "an entrypoint begins with the program to run")
                .help("leave the key out to use the image's entrypoint");
            return None;
        }
        Some(words)
    }

    fn show(&self, value: &Vec<String>) -> String {
        format!("[{}]", value.iter().map(|word| toml_string(word)).collect::<Vec<_>>().join(", "))
    }
}

/// The directory that a container starts in.
pub(crate) struct WorkingDir;

impl ValueType for WorkingDir {
    type Value = AbsolutePath;

    fn shape(&self) -> Shape {
        super::Path.shape()
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<AbsolutePath> {
        let path = super::Path.read(item, out)?;
        // CVE-2024-21626: /proc/self/fd/N as a working directory led out of the container.
        if ["/proc", "/sys", "/dev"].iter().any(|kernel| path.is_at_or_below(kernel)) {
            let message = format!("{} cannot be the working directory of a container", quoted(path.as_str()));
            out.add(&rules::WORKING_DIR, &item.span, message).help("choose a directory of the image or of a volume");
            return None;
        }
        Some(path)
    }

    fn show(&self, value: &AbsolutePath) -> String {
        super::Path.show(value)
    }
}

/// Variables, by name.
pub(crate) struct Environment;

impl ValueType for Environment {
    type Value = BTreeMap<String, String>;

    fn shape(&self) -> Shape {
        let value = Box::new(Shape::Text { form: "text", pattern: "" });
        Shape::Map { of: value, words: "table of strings", keys: Vec::new() }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Self::Value> {
        let mut environment = BTreeMap::new();
        for (entry, value) in string_entries(item, out) {
            let name = entry.name;
            let first = name.bytes().next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_');
            if first && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-')) {
                environment.insert(name.to_owned(), value);
            } else {
                let message = format!("{} is not the name of a variable", quoted(name));
                out.add(&rules::ENVIRONMENT_NAME, &entry.key_span, message)
                    .help("use letters, digits, `_`, `.` and `-`, with a letter or `_` first");
            }
        }
        Some(environment)
    }

    fn show(&self, value: &Self::Value) -> String {
        string_map_text(value)
    }
}

/// Labels, by name.
pub(crate) struct Labels;

impl ValueType for Labels {
    type Value = BTreeMap<String, String>;

    fn shape(&self) -> Shape {
        Environment.shape()
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Self::Value> {
        let mut labels = BTreeMap::new();
        for (entry, value) in string_entries(item, out) {
            if entry.name.is_empty() || entry.name.chars().any(char::is_control) {
                let message = format!("{} is not the name of a label", quoted(entry.name));
                out.add(&rules::LABEL, &entry.key_span, message)
                    .help("use at least one character and no control character");
            } else {
                labels.insert(entry.name.to_owned(), value);
            }
        }
        Some(labels)
    }

    fn show(&self, value: &Self::Value) -> String {
        string_map_text(value)
    }
}

/// A host name: RFC 1123, and at most the 64 bytes that the kernel keeps (__NEW_UTS_LEN).
pub(crate) struct HostName;

impl ValueType for HostName {
    type Value = String;

    fn shape(&self) -> Shape {
        Shape::Text { form: "host name", pattern: "^[a-z0-9.-]{1,64}$" }
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<String> {
        let text = item.string(out)?;
        // A `Name` has the form of one label of a host name.
        if text.len() > 64 || !text.split('.').all(|label| Name::new(label).is_ok()) {
            out.add(&rules::HOSTNAME, &item.span, format!("{} is not a host name", quoted(text)))
                .help("use at most 64 characters of a-z, 0-9, `-` and dots between labels");
            return None;
        }
        Some(text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        toml_string(value)
    }
}

/// A signal that asks a process to stop: `SIGTERM`, `TERM` or its number.
pub(crate) struct StopSignal;

impl ValueType for StopSignal {
    type Value = u8;

    fn shape(&self) -> Shape {
        let name = Shape::Text { form: "signal, such as `\"SIGTERM\"`", pattern: "" };
        Shape::OneOf(vec![name, Shape::Integer { least: 1, most: 64 }])
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<u8> {
        let signal = match item.as_integer() {
            Some(integer) => integer.and_then(|number| u8::try_from(number).ok()).filter(|n| (1..=64).contains(n)),
            None => names::signal(item.string(out)?),
        };
        let Some(signal) = signal else {
            out.add(&rules::SIGNAL, &item.span, "there is no such signal")
                .help_if(|| item.as_str().and_then(names::nearest_signal));
            return None;
        };
        if !names::stops(signal) {
            out.add(&rules::SIGNAL, &item.span, "this signal does not ask a process to stop")
                .help("use SIGTERM; SIGKILL follows by itself when stop_grace_period is over");
            return None;
        }
        Some(signal)
    }

    fn show(&self, value: &u8) -> String {
        toml_string(&names::signal_name(*value))
    }
}

/// A restart policy, with advice for the other words of compose.
pub(crate) struct RestartWord(pub(crate) Words<RestartPolicy>);

impl ValueType for RestartWord {
    type Value = RestartPolicy;

    fn shape(&self) -> Shape {
        self.0.shape()
    }

    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<RestartPolicy> {
        if item.as_bool() == Some(false) {
            item.wrong_type("a string", Some("write `restart = \"no\"`"), out);
            return None;
        }
        let help = match item.as_str() {
            Some("unless-stopped") => "write `always`: a container that was stopped by hand stays stopped with it too",
            Some(text) if text.starts_with("on-failure:") => "write `{ policy = \"on-failure\", max_retries = 5 }`",
            _ => return self.0.read(item, out),
        };
        let words: Vec<String> = self.0.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        out.add(&rules::WORD, &item.span, format!("{} is one of {}", quoted(item.name), words.join(", "))).help(help);
        None
    }

    fn show(&self, value: &RestartPolicy) -> String {
        self.0.show(value)
    }
}
