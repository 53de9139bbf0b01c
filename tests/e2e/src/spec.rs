//! The file's text, written the way a person would: a test adds lines, and what it does not say is small and legal.

use std::fmt::Write;

/// A file.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    appliance: String,
    head: String,
    containers: Vec<Container>,
    without_limits: bool,
}

/// A `[containers.NAME]` table.
#[derive(Debug, Clone)]
pub struct Container {
    name: String,
    keys: Vec<(String, String)>,
    resources: Vec<(String, String)>,
}

impl Spec {
    /// A file with these containers.
    pub fn new(containers: impl IntoIterator<Item = Container>) -> Self {
        Self { containers: containers.into_iter().collect(), ..Self::default() }
    }

    /// Adds lines to `[appliance]`.
    #[must_use]
    pub fn appliance(mut self, lines: &str) -> Self {
        self.appliance.push_str(lines);
        self.appliance.push('\n');
        self
    }

    /// Adds text before the containers: `[volumes.x]`, `[defaults]`.
    #[must_use]
    pub fn head(mut self, text: &str) -> Self {
        self.head.push_str(text);
        self.head.push('\n');
        self
    }

    /// Waives the limits of every container: what an ordinary user without a delegated cgroup has to write.
    #[must_use]
    pub fn without_limits(mut self) -> Self {
        self.without_limits = true;
        self
    }

    /// The text.
    pub fn text(&self) -> String {
        let mut text = format!("schema = 1\n[appliance]\nname = \"test\"\n{}{}", self.appliance, self.head);
        for container in &self.containers {
            let name = &container.name;
            let _ = writeln!(text, "[containers.{name}]");
            for (key, value) in &container.keys {
                let _ = writeln!(text, "{key} = {value}");
            }
            if !container.resources.is_empty() {
                let _ = writeln!(text, "[containers.{name}.resources]");
            }
            for (key, value) in &container.resources {
                let _ = writeln!(text, "{key} = {value}");
            }
            if self.without_limits {
                let _ = writeln!(
                    text,
                    "[[waivers]]\nrule = \"limits\"\ncontainer = \"{name}\"\nreason = \"no cgroup here\"\nexpires = 2099-12-31"
                );
            }
        }
        text
    }
}

impl Container {
    /// A container of this image that is not started again and may use little.
    pub fn new(name: &str, image: &str, uid: u32) -> Self {
        let container = Self { name: name.to_owned(), keys: Vec::new(), resources: Vec::new() };
        container
            .set("image", &quoted(image))
            .set("user", &quoted(&uid.to_string()))
            .set("restart", "\"no\"")
            .resource("memory", "\"64MiB\"")
            .resource("pids", "32")
            .resource("cpus", "2.0")
    }

    /// Sets a key to TOML text, in the place of an earlier value.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        put(&mut self.keys, key, value);
        self
    }

    /// As [`Self::set`] for a key of `resources`.
    #[must_use]
    pub fn resource(mut self, key: &str, value: &str) -> Self {
        put(&mut self.resources, key, value);
        self
    }

    /// Leaves a key out.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.keys.retain(|(there, _)| there != key);
        self.resources.retain(|(there, _)| there != key);
        self
    }

    /// Sets the command.
    #[must_use]
    pub fn command(self, words: &[&str]) -> Self {
        let list = list(words);
        self.set("command", &list)
    }

    /// Sets the entrypoint.
    #[must_use]
    pub fn entrypoint(self, words: &[&str]) -> Self {
        let list = list(words);
        self.set("entrypoint", &list)
    }
}

fn put(pairs: &mut Vec<(String, String)>, key: &str, value: &str) {
    match pairs.iter_mut().find(|(there, _)| there == key) {
        Some((_, old)) => value.clone_into(old),
        None => pairs.push((key.to_owned(), value.to_owned())),
    }
}

/// Text as a TOML basic string.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn list(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_as_written() {
        let spec = Spec::new([Container::new("a", "x@sha256:00", 7).command(&["say", "a\"b\n"]).without("cpus")]);
        let text = spec.head("[volumes.v]").without_limits().text();
        assert!(text.contains("[volumes.v]\n[containers.a]\nimage = \"x@sha256:00\"\nuser = \"7\"\n"), "{text}");
        assert!(text.contains("command = [\"say\", \"a\\\"b\\u000a\"]"), "{text}");
        assert!(text.contains("[containers.a.resources]\nmemory = \"64MiB\"\npids = 32\n[[waivers]]"), "{text}");
    }
}
