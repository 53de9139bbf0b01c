//! A job: all that the helper needs to start one container, with no decision left to take. Closed, ordered, bounded.

use crate::{Digest, Error, MAX_BODY, Name, decode_within, encode_within};
use serde::{Deserialize, Serialize};

/// The version of [`Job`] and all types in it; it changes with every change to one of them.
pub const JOB_VERSION: u16 = 1;

/// The longest encoded job: what `start` has room for.
const MAX_JOB: usize = MAX_BODY - 16;

/// Request `start`. The version is outside of the job's encoding, so that a helper of another one can say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// [`JOB_VERSION`] of the client.
    pub version: u16,
    /// [`Job::encode`].
    pub job: Vec<u8>,
}

/// One container's start. The helper checks it against its own invariants before the first system call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The container: one job of a name exists at a time.
    pub name: Name,
    /// sha256 over the encoded job with this field zero: an adopting manager compares it with the digest of its own job.
    pub digest: Digest,
    /// The root file system.
    pub rootfs: Rootfs,
    /// What the payload may do.
    pub confinement: Confinement,
    /// What is executed.
    pub process: Process,
    /// Cgroup limits.
    pub limits: Limits,
    /// Host name, name resolution, sysctls.
    pub network: Network,
}

impl Job {
    /// The job's bytes. Too long is an error: they travel in one packet.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        encode_within(MAX_JOB, self)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode_within(MAX_JOB, bytes)
    }

    /// The request that starts it.
    pub fn to_start(&self) -> Result<Start, Error> {
        Ok(Start { version: JOB_VERSION, job: self.encode()? })
    }
}

/// The root file system and everything mounted in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// ChainIDs, bottom layer first; 1 to 500, each completed by `unpack`.
    pub layers: Vec<Digest>,
    /// What lies on top of the layers.
    pub writable_root: WritableRoot,
    /// Mounted in this order; targets are absolute, normal and not nested below `/proc`, `/dev` or `/sys`.
    pub mounts: Vec<Mount>,
    /// Device nodes besides null, zero, full, random, urandom and tty.
    pub devices: Vec<Device>,
    /// Size of `/dev/shm` in bytes; 0 leaves it out.
    pub shm_size: u64,
    /// The view of procfs.
    pub proc: Proc,
    /// Mount sysfs, read-only.
    pub sysfs: bool,
}

/// What the payload is and may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Who the payload is.
    pub ids: Ids,
    /// Capability numbers to hold in the container's user namespace (P), ambient; within the built-in ceiling. Normally empty.
    pub capabilities: Vec<u8>,
    /// File and TCP rules; always applied.
    pub landlock: Landlock,
    /// Classic BPF, 8 bytes an instruction in native order; stacked on the helper's baseline.
    pub seccomp: Vec<u8>,
}

/// What the container's network, uts and ipc namespaces hold. There is no network yet but loopback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// UTS host name, 1 to 64 bytes; also the line of `/etc/hostname`.
    pub hostname: String,
    /// Content of `/etc/hosts`.
    pub hosts: Vec<u8>,
    /// Content of `/etc/resolv.conf`.
    pub resolv_conf: Vec<u8>,
    /// Namespaced sysctls, dotted key and value, from the allow list that the helper repeats.
    pub sysctls: Vec<(String, String)>,
}

/// What lies on top of the image's layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WritableRoot {
    /// Nothing: the root is read-only.
    None,
    /// A tmpfs of this size that ends with the container.
    Ephemeral {
        /// Bytes.
        size: u64,
        /// Inodes.
        inodes: u64,
    },
    /// A directory of the store that outlives the container, kept per container name.
    Persistent,
}

/// A mount besides the fixed ones. All are nosuid and nodev.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A fresh tmpfs owned by the container's user.
    Tmpfs {
        /// Absolute path in the container.
        target: String,
        /// Bytes; never 0.
        size: u64,
        /// Inodes; never 0.
        inodes: u64,
        /// Permission bits of its root.
        mode: u32,
        /// Without noexec.
        exec: bool,
    },
    /// A named volume; made, empty, at its first use, owned by the container's user.
    Volume {
        /// The volume.
        name: Name,
        /// Absolute path in the container.
        target: String,
        /// Mounted read-only.
        read_only: bool,
        /// Without noexec.
        exec: bool,
    },
    /// A file or directory of the host, opened without following any symbolic link.
    Bind {
        /// Absolute path on the host.
        source: String,
        /// Absolute path in the container.
        target: String,
        /// Mounted read-only.
        read_only: bool,
        /// Without noexec.
        exec: bool,
    },
}

impl Mount {
    /// The path in the container.
    pub fn target(&self) -> &str {
        match self {
            Self::Tmpfs { target, .. } | Self::Volume { target, .. } | Self::Bind { target, .. } => target,
        }
    }
}

/// A device node of the host, bound into the container's `/dev`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute path on the host below `/dev`; must be a character or block device.
    pub source: String,
    /// Absolute path in the container below `/dev`.
    pub target: String,
    /// The payload may open it for writing; else the mount is read-only and Landlock gives reading only.
    pub write: bool,
}

/// The view of procfs. Paths are absolute; one that this kernel does not have is skipped, as there is nothing to hide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proc {
    /// Mount with `subset=pid`: nothing but processes is there.
    pub subset_pid: bool,
    /// Hidden: a file reads as empty, a directory is empty.
    pub masked: Vec<String>,
    /// Read-only.
    pub read_only: Vec<String>,
}

/// Who the payload is, as it sees itself; it has no supplementary groups. With [`crate::IdSpace::Range`] these are also its ids
/// in A; with [`crate::IdSpace::Single`] they map to A's only id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// 1..=65534.
    pub uid: u32,
    /// 1..=65534.
    pub gid: u32,
}

/// What is executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Not empty. A first word without `/` is looked for in the environment's PATH, inside the container.
    pub argv: Vec<Vec<u8>>,
    /// `NAME=value`, complete: nothing is inherited.
    pub env: Vec<Vec<u8>>,
    /// Absolute; entered after the ids are dropped.
    pub cwd: String,
    /// Resource limits; `RLIMIT_CORE` is 0 unless it stands here.
    pub rlimits: Vec<Rlimit>,
    /// Run `casemate-init` as pid 1, the process as its child.
    pub init: bool,
}

/// One resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// The kernel's number (RLIMIT_NOFILE is 7).
    pub resource: u8,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit, not below the soft one.
    pub hard: u64,
}

/// Landlock rules, derived by the plan from root and mounts, applied with hard requirement.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landlock {
    /// Paths in the container and what may be done below them.
    pub paths: Vec<PathRule>,
    /// TCP ports that may be bound; none: not restricted.
    pub bind_tcp: Option<Vec<u16>>,
    /// TCP ports that may be connected to; none: not restricted.
    pub connect_tcp: Option<Vec<u16>>,
    /// Deny signals to, and abstract sockets of, processes outside the container (ABI 6).
    pub scoped: bool,
}

/// Access below one path. A path that does not exist in the container is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRule {
    /// Absolute path in the container.
    pub path: String,
    /// What is allowed there.
    pub access: PathAccess,
}

/// What is allowed below a path.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathAccess {
    /// Read files and list directories.
    pub read: bool,
    /// Write, create, remove, rename, truncate.
    pub write: bool,
    /// Execute.
    pub execute: bool,
    /// Device ioctls (ABI 5).
    pub ioctl_dev: bool,
}

/// Cgroup limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limits {
    /// Written and read back before the payload starts.
    Enforced(Resources),
    /// A waiver says that this host cannot have them. The helper still makes a cgroup where it can.
    Waived,
}

/// The limits of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory; required.
    pub memory: Memory,
    /// Most processes and threads; required, 1 and up.
    pub pids: u32,
    /// CPU time per 100 ms of wall time, in microseconds (2 cores: 200000).
    pub cpu_quota: Option<u32>,
    /// 1..=10000, as cpu.weight.
    pub cpu_weight: Option<u16>,
    /// CPU list as the kernel writes it (`0-1,3`).
    pub cpuset: Option<String>,
    /// Limits per block device.
    pub io: Vec<IoLimit>,
}

/// Memory limits in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// memory.max.
    pub max: u64,
    /// memory.high.
    pub high: Option<u64>,
    /// memory.swap.max; 0 is the default.
    pub swap: u64,
}

/// io.max of one block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoLimit {
    /// Major and minor number.
    pub device: (u32, u32),
    /// Bytes a second.
    pub read_bps: Option<u64>,
    /// Bytes a second.
    pub write_bps: Option<u64>,
    /// Operations a second.
    pub read_iops: Option<u64>,
    /// Operations a second.
    pub write_iops: Option<u64>,
}
