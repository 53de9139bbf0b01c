//! An accepted file as the later stages use it: plain values, the defaults filled in.
//!
//! Enters: the tables of a file without errors. Leaves: [`Spec`]. May be relied on: no container is root, every image is
//! pinned, memory, pids and cpus are always bounded, every path is absolute and normal, no mount target lies below another
//! one, names are unique, and every container and volume that is referred to is in the file.
//!
//! Each type is read here, beside its definition: one line a field, by the row of the table of keys that it comes from.

mod container;
mod logging;
mod mount;
mod policy;
mod registry;
mod resources;
mod security;

pub use container::{ContainerSpec, Restart, RestartPolicy, User};
pub use logging::{LogDriver, Logging, ManagerLog};
pub use mount::{Device, Mount, Root};
pub(crate) use mount::{MountSource, MountType};
pub use policy::{Limit, Policy, StorePolicy, Verify};
pub use registry::{LoginSource, Registry};
pub use resources::{IoLimit, Resources, Ulimit};
pub use security::{Landlock, Seccomp, Security};

use super::date::Date;
use super::file::File;
use super::keys::file as keys;
use super::position::{Lines, Position};
use super::view::View;
use casemate_wire::Name;
use std::sync::Arc;

/// One accepted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// `appliance.name`.
    pub appliance: Name,
    /// `appliance.log`.
    pub log: ManagerLog,
    /// `[policy]`.
    pub policy: Policy,
    /// `[registries]`, in file order.
    pub registries: Vec<Registry>,
    /// `[store]`.
    pub store: StorePolicy,
    /// `[volumes]`, in file order.
    pub volumes: Vec<Volume>,
    /// `[containers]`, in file order: started in this order, stopped in the reverse order.
    pub containers: Vec<ContainerSpec>,
    /// `[[waivers]]`, in file order; none has expired.
    pub waivers: Vec<Waiver>,
    /// The text of the file, for [`Spec::explain`].
    pub(crate) text: Arc<str>,
}

impl Spec {
    /// Reads a file in which no error was found.
    pub(crate) fn read(file: &File<'_>, lines: &Lines<'_>) -> Option<Self> {
        let appliance = file.root.group(&keys::APPLIANCE_TABLE);
        let registries = file.registries.iter().map(Registry::read);
        let volumes = file.volumes.iter().map(|volume| Volume::read(volume, lines));
        let containers = file.containers.iter().map(|container| ContainerSpec::read(container, lines));
        let waivers = file.waivers.iter().map(|waiver| Waiver::read(waiver, lines));
        Some(Self {
            appliance: appliance.get(&keys::NAME)?,
            log: appliance.get(&keys::LOG)?,
            policy: Policy::read(&file.root.group(&keys::POLICY_TABLE))?,
            registries: registries.collect::<Option<_>>()?,
            store: StorePolicy::read(&file.root.group(&keys::STORE_TABLE)),
            volumes: volumes.collect::<Option<_>>()?,
            containers: containers.collect::<Option<_>>()?,
            waivers: waivers.collect::<Option<_>>()?,
            text: Arc::from(lines.text),
        })
    }

    /// The container of this name.
    pub fn container(&self, name: &str) -> Option<&ContainerSpec> {
        self.containers.iter().find(|container| container.name.as_str() == name)
    }

    /// The waiver of this rule for this container, where the file has one.
    pub fn waiver(&self, rule: Waivable, container: &Name) -> Option<&Waiver> {
        self.waivers.iter().find(|waiver| waiver.rule == rule && waiver.container == *container)
    }
}

/// `[volumes.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The name that the file gives it.
    pub name: Name,
    /// How long its content is kept.
    pub persistence: Persistence,
    /// Where it stands in the file.
    pub at: Position,
}

impl Volume {
    fn read(volume: &View<'_>, lines: &Lines<'_>) -> Option<Self> {
        let name = volume.name.as_ref()?;
        Some(Self {
            name: Name::new(name.value).ok()?,
            persistence: volume.get(&keys::PERSISTENCE)?,
            at: lines.position(name.span.start),
        })
    }
}

/// How long a volume's content is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Until it is removed by hand.
    Permanent,
}

/// `[[waivers]]`: a rule that the file weakens for one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// The rule.
    pub rule: Waivable,
    /// The container.
    pub container: Name,
    /// Why, for the reports.
    pub reason: String,
    /// The last day on which it holds.
    pub expires: Date,
    /// Where it stands in the file.
    pub at: Position,
}

impl Waiver {
    fn read(waiver: &View<'_>, lines: &Lines<'_>) -> Option<Self> {
        Some(Self {
            rule: waiver.get(&keys::RULE)?,
            container: Name::new(waiver.get(&keys::CONTAINER)?).ok()?,
            reason: waiver.get(&keys::REASON)?,
            expires: waiver.get(&keys::EXPIRES)?,
            at: lines.position(waiver.span.start),
        })
    }
}

/// The rules that a waiver can weaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waivable {
    /// `limits`: the host cannot enforce cgroup limits; the container starts without them.
    Limits,
    /// `limits-required`: the container need not state a limit that the policy asks for; the built-in ones hold.
    LimitsRequired,
}

impl Waivable {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Limits, Self::LimitsRequired];

    /// The rule's id.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::LimitsRequired => "limits-required",
        }
    }
}
