//! The types of values: how each is read from the file, what a document says of it, and how it is written.
//!
//! A row of the table of keys names one of these. Reading is total and pure: a value or findings, and the same each time.

mod command;
mod container;
mod list;
mod mount;
mod registry;
mod scalar;
mod security;
mod shape;
mod table;
mod words;

pub(crate) use command::{Command, Environment, HostName, Labels, RestartWord, StopSignal, WorkingDir};
pub(crate) use container::{
    ApplianceName, ContainerName, CpuSet, CpuTime, Image, IoDevice, Sysctls, UlimitNumber, Ulimits, UserIds,
};
pub(crate) use list::{List, list};
pub(crate) use mount::{TmpfsMount, default_inodes};
pub(crate) use registry::{CredentialName, MirrorUrl, ProxyUrl};
pub(crate) use scalar::{AnyText, Boolean, Count, Day, Path, Size, SizeOrZero, Time};
pub(crate) use security::{
    CapDrop, Capability, KernelPath, LandlockRules, LandlockScope, ProfilePath, SeccompProfile, Sha256, ports,
};
pub(crate) use shape::Shape;
pub(crate) use table::{Group, Named, Whole, name_of};
pub(crate) use words::{Fixed, Line, WaivableRule, Words};

use crate::finding::Findings;
use crate::item::Item;
use crate::view::Level;

/// The type of a key's value.
pub(crate) trait ValueType: Sync + 'static {
    /// What is read.
    type Value: 'static;

    /// What may be written, for the documents.
    fn shape(&self) -> Shape;

    /// Reads a value; None where a finding was noted.
    fn read(&self, item: &Item<'_>, out: &mut Findings<'_>) -> Option<Self::Value>;

    /// Writes a value in the one form that casemate uses, which reads as the same value again.
    fn show(&self, value: &Self::Value) -> String;

    /// Notes what is wrong with a value.
    fn check(&self, item: &Item<'_>, _level: Level, out: &mut Findings<'_>) {
        self.read(item, out);
    }

    /// Writes the value of the file in the form of [`Self::show`].
    fn text(&self, item: &Item<'_>) -> Option<String> {
        self.read(item, &mut Findings::silent()).map(|value| self.show(&value))
    }

    /// Itself, where it is a table whose keys are looked up one by one.
    fn group(&self) -> Option<&Group> {
        None
    }

    /// Itself, where it is for tables that the file names.
    fn named(&self) -> Option<&Named> {
        None
    }

    /// A container's value together with that of `[defaults]`, for keys that join them.
    fn join(&self, own: Self::Value, _below: Self::Value) -> Self::Value {
        own
    }
}

/// A string as TOML writes it.
pub(crate) fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A key as TOML writes it: bare where it can be.
pub(crate) fn toml_key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'));
    if bare { name.to_owned() } else { toml_string(name) }
}
