//! The resolved file: what every later stage codes against.
//!
//! Enters: what `decode` took from the text and `validate` accepted. Leaves: plain values with the built-in defaults filled in.
//! May be relied on: no container is root, every image is pinned, memory, pids and cpus are always bounded, every path is
//! absolute and normal, no mount target lies below another one, names are unique and every reference points to something.

use super::date::Date;
use super::endpoint::Registry;
use super::image_ref::ImagePin;
use super::logging::{Logging, ManagerLog};
use super::policy::{Policy, StorePolicy};
use super::values::{AbsolutePath, ByteSize, CpuList, Cpus, NonRootGid, NonRootUid};
use casemate_wire::{Digest, Name};
use std::collections::BTreeMap;
use std::time::Duration;

/// One accepted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// `appliance.name`.
    pub appliance: Name,
    /// `appliance.log`.
    pub log: ManagerLog,
    /// The floor for every container.
    pub policy: Policy,
    /// What the file says of registries, in file order.
    pub registries: Vec<Registry>,
    /// How images are kept.
    pub store: StorePolicy,
    /// Named volumes, in file order.
    pub volumes: Vec<Volume>,
    /// Containers, in file order: started in it, stopped in the reverse of it.
    pub containers: Vec<ContainerSpec>,
    /// Rules that the file weakens, in file order; none has expired.
    pub waivers: Vec<Waiver>,
}

impl Spec {
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
    /// Its name.
    pub name: Name,
    /// How long its content lives.
    pub persistence: Persistence,
    /// Where it stands in the file.
    pub at: Position,
}

/// How long a volume's content lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Until somebody removes it.
    Permanent,
}

/// A place in the file, both counted from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// `[containers.NAME]`, defaults filled in. What stays an `Option` is for the image's config to say, or is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Its name.
    pub name: Name,
    /// Where its table stands in the file, for messages of later stages.
    pub at: Position,
    /// What it runs, pinned.
    pub image: ImagePin,
    /// Who it runs as.
    pub user: User,
    /// The container whose uid it shares on purpose.
    pub share_user_with: Option<Name>,
    /// Replaces the image's entrypoint, and then the image's command is not used either (as docker does).
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Replaces the image's working directory.
    pub working_dir: Option<AbsolutePath>,
    /// Added to the image's environment, and stronger than it.
    pub environment: BTreeMap<String, String>,
    /// UTS host name; the container's name where the file is silent.
    pub hostname: String,
    /// What lies on top of the image.
    pub root: Root,
    /// Volumes, binds and tmpfs, in file order, `tmpfs` first.
    pub mounts: Vec<Mount>,
    /// Device nodes.
    pub devices: Vec<Device>,
    /// Size of `/dev/shm`.
    pub shm_size: ByteSize,
    /// Resource limits of the process.
    pub ulimits: Vec<Ulimit>,
    /// Namespaced sysctls, dotted key and value.
    pub sysctls: BTreeMap<String, String>,
    /// Run `casemate-init` as pid 1.
    pub init: bool,
    /// Replaces the image's stop signal; SIGTERM where neither says one. 1..=64.
    pub stop_signal: Option<u8>,
    /// From the stop signal to SIGKILL.
    pub stop_grace_period: Duration,
    /// What happens when it ends.
    pub restart: Restart,
    /// Cgroup limits.
    pub resources: Resources,
    /// Confinement.
    pub security: Security,
    /// Mount sysfs, read-only.
    pub sysfs: bool,
    /// For people and tools; no decision of ours reads them.
    pub labels: BTreeMap<String, String>,
    /// Bounds of its log files.
    pub logging: Logging,
}

/// Who a container runs as: numbers from the file, never a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: NonRootUid,
    /// Group id; the uid's number where the file gives no group.
    pub gid: NonRootGid,
}

/// What lies on top of the image's layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// Nothing: writes are refused.
    ReadOnly,
    /// A tmpfs that ends with the container.
    Ephemeral {
        /// Its size.
        size: ByteSize,
        /// Its inodes; never 0.
        inodes: u64,
    },
    /// A directory that outlives the container.
    Persistent,
}

/// A mount besides the fixed ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// A fresh tmpfs of the container's user.
    Tmpfs {
        /// Path in the container.
        target: AbsolutePath,
        /// Its size.
        size: ByteSize,
        /// Its inodes; never 0.
        inodes: u64,
        /// Permission bits, at most 0o1777.
        mode: u32,
        /// Files on it may be executed.
        exec: bool,
    },
    /// A named volume of this file.
    Volume {
        /// The volume.
        source: Name,
        /// Path in the container.
        target: AbsolutePath,
        /// Mounted read-only.
        read_only: bool,
        /// Files on it may be executed.
        exec: bool,
    },
    /// A file or directory of the host.
    Bind {
        /// Path on the host.
        source: AbsolutePath,
        /// Path in the container.
        target: AbsolutePath,
        /// Mounted read-only.
        read_only: bool,
        /// Files on it may be executed.
        exec: bool,
    },
}

impl Mount {
    /// The path in the container.
    pub fn target(&self) -> &AbsolutePath {
        match self {
            Self::Tmpfs { target, .. } | Self::Volume { target, .. } | Self::Bind { target, .. } => target,
        }
    }
}

/// A device node of the host, both paths below `/dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Path on the host.
    pub source: AbsolutePath,
    /// Path in the container.
    pub target: AbsolutePath,
    /// It may be written to.
    pub write: bool,
}

/// One resource limit of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ulimit {
    /// The kernel's number (RLIMIT_NOFILE is 7).
    pub resource: u8,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit, not below the soft one.
    pub hard: u64,
}

/// What happens when a container ends, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// When it is started again.
    pub policy: RestartPolicy,
    /// Most restarts within `window`; after them the container has failed for good.
    pub max_retries: u32,
    /// Wait before the first restart; doubled for each further one.
    pub delay: Duration,
    /// The longest wait.
    pub max_delay: Duration,
    /// A run of this length starts the count and the wait afresh.
    pub window: Duration,
}

/// When a container is started again; the words of compose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Never.
    No,
    /// When it ended with another code than 0.
    OnFailure,
    /// Whenever it ended by itself, not when it was stopped.
    Always,
}

/// Cgroup limits. The three that `policy.require_limits` can name are always there: a silent file gets the built-in ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// memory.max.
    pub memory: ByteSize,
    /// memory.high, not above `memory`.
    pub memory_high: Option<ByteSize>,
    /// memory.swap.max in bytes; 0, no swap, where the file is silent.
    pub memory_swap: u64,
    /// CPU time.
    pub cpus: Cpus,
    /// cpu.weight, 1..=10000.
    pub cpu_weight: Option<u16>,
    /// cpuset.cpus.
    pub cpuset: Option<CpuList>,
    /// pids.max, 1 and up.
    pub pids: u32,
    /// io.max per block device.
    pub io: Vec<IoLimit>,
}

/// io.max of one block device; at least one number is there, none is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoLimit {
    /// The block device's path on the host.
    pub device: AbsolutePath,
    /// Bytes a second.
    pub read_bps: Option<u64>,
    /// Bytes a second.
    pub write_bps: Option<u64>,
    /// Operations a second.
    pub read_iops: Option<u64>,
    /// Operations a second.
    pub write_iops: Option<u64>,
}

/// Confinement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// The profile on top of the helper's baseline.
    pub seccomp: Seccomp,
    /// What narrows the rules that the plan derives.
    pub landlock: Landlock,
    /// Capabilities to hold, each within the ceiling, by the kernel's number; normally none.
    pub cap_add: Vec<u8>,
    /// Hidden besides the built-in ones.
    pub masked_paths: Vec<AbsolutePath>,
}

/// A system call profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seccomp {
    /// `casemate:service`.
    Service,
    /// `casemate:minimal`.
    Minimal,
    /// A file, proven by its digest; a relative path starts at the directory of the spec's file.
    File {
        /// Absolute, or relative without `..`.
        profile: String,
        /// Its sha256.
        sha256: Digest,
    },
}

/// `landlock = true` is all of it absent: then the plan derives the rules from root and mounts. A list that is there replaces
/// the derived one of its kind. Signals and abstract sockets are always scoped to the container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Landlock {
    /// Paths below which files may be read.
    pub read: Option<Vec<AbsolutePath>>,
    /// Paths below which files may be changed.
    pub write: Option<Vec<AbsolutePath>>,
    /// Paths below which files may be executed.
    pub execute: Option<Vec<AbsolutePath>>,
    /// TCP ports that may be bound.
    pub bind_tcp: Option<Vec<u16>>,
    /// TCP ports that may be connected to.
    pub connect_tcp: Option<Vec<u16>>,
}

/// `[[waivers]]`: a rule that the file weakens for one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// The rule.
    pub rule: Waivable,
    /// The container.
    pub container: Name,
    /// Why, for the report.
    pub reason: String,
    /// The last day on which it holds.
    pub expires: Date,
    /// Where it stands in the file.
    pub at: Position,
}

/// The rules that a waiver can weaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waivable {
    /// `limits`: this host cannot enforce cgroup limits; start without.
    Limits,
    /// `limits-required`: the file need not state a limit that the policy asks for; the built-in ones hold.
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
