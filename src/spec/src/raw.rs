//! The file as it was written: values of the right shape with their spans, nothing filled in, nothing compared.
//!
//! Enters: what `decode` could read. Leaves: what `validate` compares and `resolve` completes. A `None` is a key that is not
//! there, or one that an error was already noted for.

use super::cursor::At;
use super::date::Date;
use super::endpoint::{Mirror, Proxy};
use super::image_ref::ImagePin;
use super::logging::{LogDriver, ManagerLog};
use super::model::{IoLimit, Landlock, Mount, Persistence, RestartPolicy, Root, Seccomp, Ulimit, User, Waivable};
use super::policy::{Limit, Verify};
use super::values::{AbsolutePath, ByteSize, CpuList, Cpus};
use casemate_wire::Name;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

#[derive(Default)]
pub(super) struct RawSpec {
    pub(super) appliance: Option<Name>,
    pub(super) log: Option<ManagerLog>,
    pub(super) require_limits: Option<Vec<Limit>>,
    pub(super) defaults: RawDefaults,
    pub(super) registries: Vec<RawRegistry>,
    pub(super) store: RawStore,
    pub(super) volumes: Vec<RawVolume>,
    /// In file order.
    pub(super) containers: Vec<RawContainer>,
    pub(super) waivers: Vec<RawWaiver>,
}

#[derive(Default)]
pub(super) struct RawStore {
    pub(super) preload: Option<Vec<At<AbsolutePath>>>,
    pub(super) keep: Option<usize>,
    pub(super) free_space: Option<u64>,
    pub(super) verify: Option<Verify>,
    pub(super) max_concurrent_downloads: Option<u8>,
    pub(super) max_download_rate: Option<ByteSize>,
}

pub(super) struct RawRegistry {
    pub(super) name: At<String>,
    pub(super) mirrors: Vec<At<Mirror>>,
    pub(super) ca: Option<AbsolutePath>,
    pub(super) insecure: Option<At<bool>>,
    pub(super) auth_file: Option<At<AbsolutePath>>,
    pub(super) credential: Option<At<String>>,
    pub(super) proxy: Option<Proxy>,
    pub(super) ports: Vec<u16>,
}

pub(super) struct RawVolume {
    pub(super) name: At<Name>,
    pub(super) persistence: Option<Persistence>,
}

#[derive(Default)]
pub(super) struct RawDefaults {
    pub(super) read_only: Option<bool>,
    pub(super) init: Option<bool>,
    pub(super) restart: RawRestart,
    pub(super) stop_signal: Option<u8>,
    pub(super) stop_grace_period: Option<Duration>,
    pub(super) security: RawSecurity,
    pub(super) log_driver: Option<LogDriver>,
}

pub(super) struct RawContainer {
    pub(super) name: At<Name>,
    pub(super) image: Option<At<ImagePin>>,
    pub(super) user: Option<At<User>>,
    pub(super) share_user_with: Option<At<String>>,
    pub(super) process: RawProcess,
    pub(super) read_only: Option<At<bool>>,
    /// The key is there; the root is not, where an error was noted for it.
    pub(super) writable_root: Option<At<Option<Root>>>,
    pub(super) mounts: Vec<RawMount>,
    pub(super) devices: Vec<RawDevice>,
    pub(super) shm_size: Option<ByteSize>,
    pub(super) sysfs: Option<bool>,
    pub(super) init: Option<bool>,
    pub(super) stop_signal: Option<u8>,
    pub(super) stop_grace_period: Option<Duration>,
    pub(super) restart: RawRestart,
    pub(super) resources: RawResources,
    pub(super) security: RawSecurity,
    pub(super) logging: RawLogging,
}

#[derive(Default)]
pub(super) struct RawProcess {
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) command: Option<Vec<String>>,
    pub(super) working_dir: Option<AbsolutePath>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) hostname: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) ulimits: Vec<Ulimit>,
    pub(super) sysctls: BTreeMap<String, String>,
}

/// A mount: its two ends for `validate`, each where it could be read, and the whole where all of it could.
pub(super) struct RawMount {
    pub(super) source: Option<At<RawSource>>,
    pub(super) target: Option<At<AbsolutePath>>,
    pub(super) mount: Option<Mount>,
}

/// Where a mount's content comes from; a tmpfs has none.
pub(super) enum RawSource {
    Volume(Name),
    Bind(AbsolutePath),
}

/// A device, as [`RawMount`].
pub(super) struct RawDevice {
    pub(super) span: Range<usize>,
    pub(super) source: Option<AbsolutePath>,
    pub(super) target: Option<AbsolutePath>,
    pub(super) write: Option<bool>,
}

#[derive(Default)]
pub(super) struct RawRestart {
    pub(super) policy: Option<RestartPolicy>,
    pub(super) max_retries: Option<u32>,
    pub(super) delay: Option<At<Duration>>,
    pub(super) max_delay: Option<At<Duration>>,
    pub(super) window: Option<Duration>,
}

#[derive(Default)]
pub(super) struct RawResources {
    /// The limits whose keys are there, right or wrong.
    pub(super) stated: Vec<Limit>,
    pub(super) memory: Option<At<ByteSize>>,
    pub(super) memory_high: Option<At<ByteSize>>,
    pub(super) memory_swap: Option<u64>,
    pub(super) cpus: Option<Cpus>,
    pub(super) cpu_weight: Option<u16>,
    pub(super) cpuset: Option<CpuList>,
    pub(super) pids: Option<u32>,
    pub(super) io: Vec<IoLimit>,
}

#[derive(Default)]
pub(super) struct RawSecurity {
    pub(super) seccomp: Option<Seccomp>,
    pub(super) landlock: Option<Landlock>,
    pub(super) cap_add: Vec<u8>,
    pub(super) masked_paths: Vec<AbsolutePath>,
}

#[derive(Default)]
pub(super) struct RawLogging {
    pub(super) driver: Option<LogDriver>,
    pub(super) max_size: Option<ByteSize>,
    pub(super) max_file: Option<u32>,
}

pub(super) struct RawWaiver {
    pub(super) span: Range<usize>,
    pub(super) rule: Option<At<Waivable>>,
    pub(super) container: Option<At<String>>,
    pub(super) reason: Option<String>,
    pub(super) expires: Option<At<Date>>,
}
