//! `[containers.NAME]`.

use super::{Device, Logging, Mount, Resources, Root, Security, Ulimit};
use crate::image_ref::ImagePin;
use crate::keys::container as keys;
use crate::position::{Lines, Position};
use crate::values::{AbsolutePath, ByteSize, NonRootGid, NonRootUid};
use crate::view::View;
use casemate_wire::Name;
use std::collections::BTreeMap;
use std::time::Duration;

/// One container. A field that is an `Option` is left to the image's config, or means that there is no such limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// The name that the file gives it.
    pub name: Name,
    /// Where its table stands in the file, for messages of later stages.
    pub at: Position,
    /// The image, pinned.
    pub image: ImagePin,
    /// uid and gid.
    pub user: User,
    /// The container whose uid it shares on purpose.
    pub share_user_with: Option<Name>,
    /// Replaces the image's entrypoint, and with it the image's command (as docker does).
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Replaces the image's working directory.
    pub working_dir: Option<AbsolutePath>,
    /// Added to the image's environment, and stronger than it.
    pub environment: BTreeMap<String, String>,
    /// UTS host name.
    pub hostname: String,
    /// The layer above the image's layers.
    pub root: Root,
    /// tmpfs, then volumes, each in file order.
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
    /// Replaces the image's stop signal; SIGTERM where neither gives one. 1..=64.
    pub stop_signal: Option<u8>,
    /// From the stop signal to SIGKILL.
    pub stop_grace_period: Duration,
    /// When it is started again after it ended.
    pub restart: Restart,
    /// Cgroup limits.
    pub resources: Resources,
    /// Confinement.
    pub security: Security,
    /// Mount sysfs, read-only.
    pub sysfs: bool,
    /// For people and tools; casemate decides nothing by them.
    pub labels: BTreeMap<String, String>,
    /// Where its output goes, and the bounds of its log files.
    pub logging: Logging,
}

impl ContainerSpec {
    pub(crate) fn read(table: &View<'_>, lines: &Lines<'_>) -> Option<Self> {
        let name = table.name.as_ref()?;
        let share_user_with = table.get(&keys::SHARE_USER_WITH).map(Name::new).transpose().ok()?;
        let mounts = table.get(&keys::TMPFS)?.into_iter().chain(table.get(&keys::VOLUMES)?).collect();
        Some(Self {
            name: Name::new(name.value).ok()?,
            at: lines.position(name.span.start),
            image: table.get(&keys::IMAGE)?,
            user: table.get(&keys::USER)?,
            share_user_with,
            entrypoint: table.get(&keys::ENTRYPOINT),
            command: table.get(&keys::COMMAND),
            working_dir: table.get(&keys::WORKING_DIR),
            environment: table.get(&keys::ENVIRONMENT).unwrap_or_default(),
            hostname: table.get(&keys::HOSTNAME)?,
            root: Root::read(table)?,
            mounts,
            devices: table.get(&keys::DEVICES)?,
            shm_size: table.get(&keys::SHM_SIZE)?,
            ulimits: table.get(&keys::ULIMITS).unwrap_or_default(),
            sysctls: table.get(&keys::SYSCTLS)?,
            init: table.get(&keys::INIT)?,
            stop_signal: table.get(&keys::STOP_SIGNAL),
            stop_grace_period: table.get(&keys::STOP_GRACE_PERIOD)?,
            restart: Restart::read(&table.group(&keys::RESTART_TABLE))?,
            resources: Resources::read(&table.group(&keys::RESOURCES_TABLE))?,
            security: Security::read(&table.group(&keys::SECURITY_TABLE))?,
            sysfs: table.get(&keys::SYSFS)?,
            labels: table.get(&keys::LABELS)?,
            logging: Logging::read(&table.group(&keys::LOGGING_TABLE))?,
        })
    }
}

/// The ids that a container runs with: numbers from the file, never a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: NonRootUid,
    /// Group id; the uid's number where the file gives no group.
    pub gid: NonRootGid,
}

/// When a container is started again after it ended, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// After which exits.
    pub policy: RestartPolicy,
    /// Most restarts in a row; after them the container has failed and stays down.
    pub max_retries: u32,
    /// Delay before the first restart; doubled for each further one.
    pub delay: Duration,
    /// The longest delay.
    pub max_delay: Duration,
    /// After a run of this length count and delay begin afresh.
    pub window: Duration,
}

impl Restart {
    pub(crate) fn read(table: &View<'_>) -> Option<Self> {
        Some(Self {
            policy: table.get(&keys::RESTART_POLICY)?,
            max_retries: table.get(&keys::RESTART_MAX_RETRIES)?,
            delay: table.get(&keys::RESTART_DELAY)?,
            max_delay: table.get(&keys::RESTART_MAX_DELAY)?,
            window: table.get(&keys::RESTART_WINDOW)?,
        })
    }
}

/// After which exits a container is started again; the words of compose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Never.
    No,
    /// After an exit code other than 0.
    OnFailure,
    /// After each exit that was not a stop.
    Always,
}
