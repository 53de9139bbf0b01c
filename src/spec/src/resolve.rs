//! From a file without errors to [`Spec`]: defaults are filled in, spans become places.

use super::endpoint::{LoginSource, Registry};
use super::finding::Findings;
use super::logging::{LogDriver, Logging};
use super::model::{
    ContainerSpec, Device, Persistence, Resources, Restart, RestartPolicy, Root, Seccomp, Security, Spec, Volume,
    Waiver,
};
use super::policy::{Limit, Policy, StorePolicy};
use super::raw::{
    RawContainer, RawDefaults, RawDevice, RawLogging, RawRegistry, RawResources, RawRestart, RawSecurity, RawSpec,
    RawStore, RawVolume, RawWaiver,
};
use super::values::{ByteSize, Cpus};
use casemate_wire::Name;
use std::time::Duration;

// What a silent file gets. There is a bound for everything that can grow: none of these is ever "unlimited".
pub(super) const MEMORY: ByteSize = ByteSize::mib(256);
const PIDS: u32 = 128;
const SHM_SIZE: ByteSize = ByteSize::mib(64);
const STOP_GRACE_PERIOD: Duration = Duration::from_secs(10);
const LOG_SIZE: ByteSize = ByteSize::mib(8);
const LOG_FILES: u32 = 3;
const RESTART: Restart = Restart {
    policy: RestartPolicy::OnFailure,
    max_retries: 10,
    delay: Duration::from_secs(1),
    max_delay: Duration::from_secs(60),
    window: Duration::from_secs(600),
};

/// Completes a file. None where an error was noted, which the caller has seen to be absent.
pub(super) fn spec(raw: RawSpec, places: &Findings<'_>) -> Option<Spec> {
    let policy = Policy { require_limits: require_limits(&raw) };
    let defaults = &raw.defaults;
    let containers = raw.containers.into_iter().map(|raw| container(raw, defaults, places));
    Some(Spec {
        appliance: raw.appliance?,
        log: raw.log.unwrap_or_default(),
        policy,
        registries: raw.registries.into_iter().map(registry).collect(),
        store: store(&raw.store),
        volumes: raw.volumes.into_iter().map(|raw| volume(raw, places)).collect::<Option<_>>()?,
        containers: containers.collect::<Option<_>>()?,
        waivers: raw.waivers.into_iter().map(|raw| waiver(raw, places)).collect::<Option<_>>()?,
    })
}

/// The limits that every container has to state.
pub(super) fn require_limits(raw: &RawSpec) -> Vec<Limit> {
    raw.require_limits.clone().unwrap_or_else(|| vec![Limit::Memory, Limit::Pids])
}

/// What a silent file gets.
pub(super) fn store(raw: &RawStore) -> StorePolicy {
    let silent = StorePolicy::default();
    let preload = raw.preload.iter().flatten().map(|path| path.value.clone()).collect();
    StorePolicy {
        preload,
        keep: raw.keep.unwrap_or(silent.keep),
        free_space: raw.free_space.unwrap_or(silent.free_space),
        verify: raw.verify.unwrap_or(silent.verify),
        max_concurrent_downloads: raw.max_concurrent_downloads.unwrap_or(silent.max_concurrent_downloads),
        max_download_rate: raw.max_download_rate,
    }
}

fn registry(raw: RawRegistry) -> Registry {
    let file = raw.auth_file.map(|file| LoginSource::File(file.value));
    Registry {
        name: raw.name.value,
        mirrors: raw.mirrors.into_iter().map(|mirror| mirror.value).collect(),
        ca: raw.ca,
        insecure: raw.insecure.is_some_and(|insecure| insecure.value),
        login: file.or(raw.credential.map(|name| LoginSource::Credential(name.value))),
        proxy: raw.proxy,
        ports: raw.ports,
    }
}

fn volume(raw: RawVolume, places: &Findings<'_>) -> Option<Volume> {
    let persistence: Persistence = raw.persistence?;
    Some(Volume { name: raw.name.value, persistence, at: places.place(raw.name.span.start) })
}

fn waiver(raw: RawWaiver, places: &Findings<'_>) -> Option<Waiver> {
    Some(Waiver {
        rule: raw.rule?.value,
        container: Name::new(raw.container?.value).ok()?,
        reason: raw.reason?,
        expires: raw.expires?.value,
        at: places.place(raw.span.start),
    })
}

fn container(raw: RawContainer, defaults: &RawDefaults, places: &Findings<'_>) -> Option<ContainerSpec> {
    let read_only = raw.read_only.map(|own| own.value).or(defaults.read_only).unwrap_or(true);
    let root = if read_only { Root::ReadOnly } else { raw.writable_root?.value? };
    let hostname = raw.process.hostname.unwrap_or_else(|| raw.name.value.to_string());
    let share_user_with = match raw.share_user_with {
        Some(other) => Some(Name::new(other.value).ok()?),
        None => None,
    };
    Some(ContainerSpec {
        at: places.place(raw.name.span.start),
        name: raw.name.value,
        image: raw.image?.value,
        user: raw.user?.value,
        share_user_with,
        entrypoint: raw.process.entrypoint,
        command: raw.process.command,
        working_dir: raw.process.working_dir,
        environment: raw.process.environment,
        hostname,
        root,
        mounts: raw.mounts.into_iter().map(|mount| mount.mount).collect::<Option<_>>()?,
        devices: raw.devices.into_iter().map(device).collect::<Option<_>>()?,
        shm_size: raw.shm_size.unwrap_or(SHM_SIZE),
        ulimits: raw.process.ulimits,
        sysctls: raw.process.sysctls,
        init: raw.init.or(defaults.init).unwrap_or(false),
        stop_signal: raw.stop_signal.or(defaults.stop_signal),
        stop_grace_period: raw.stop_grace_period.or(defaults.stop_grace_period).unwrap_or(STOP_GRACE_PERIOD),
        restart: restart(&raw.restart, &defaults.restart),
        resources: resources(raw.resources),
        security: security(raw.security, &defaults.security),
        sysfs: raw.sysfs.unwrap_or(false),
        labels: raw.process.labels,
        logging: logging(&raw.logging, defaults),
    })
}

fn device(raw: RawDevice) -> Option<Device> {
    Some(Device { source: raw.source?, target: raw.target?, write: raw.write? })
}

/// Each number is the container's own, else the defaults', else the built-in one.
pub(super) fn restart(own: &RawRestart, defaults: &RawRestart) -> Restart {
    let delay = own.delay.as_ref().or(defaults.delay.as_ref());
    let max_delay = own.max_delay.as_ref().or(defaults.max_delay.as_ref());
    Restart {
        policy: own.policy.or(defaults.policy).unwrap_or(RESTART.policy),
        max_retries: own.max_retries.or(defaults.max_retries).unwrap_or(RESTART.max_retries),
        delay: delay.map_or(RESTART.delay, |delay| delay.value),
        max_delay: max_delay.map_or(RESTART.max_delay, |delay| delay.value),
        window: own.window.or(defaults.window).unwrap_or(RESTART.window),
    }
}

fn resources(raw: RawResources) -> Resources {
    Resources {
        memory: raw.memory.map_or(MEMORY, |memory| memory.value),
        memory_high: raw.memory_high.map(|high| high.value),
        memory_swap: raw.memory_swap.unwrap_or(0),
        cpus: raw.cpus.unwrap_or(Cpus::ONE),
        cpu_weight: raw.cpu_weight,
        cpuset: raw.cpuset,
        pids: raw.pids.unwrap_or(PIDS),
        io: raw.io,
    }
}

/// The profile and the Landlock rules are the container's own or the defaults'; what is masked is masked by both.
fn security(own: RawSecurity, defaults: &RawSecurity) -> Security {
    let mut masked_paths = defaults.masked_paths.clone();
    masked_paths.extend(own.masked_paths);
    masked_paths.sort();
    masked_paths.dedup();
    Security {
        seccomp: own.seccomp.or_else(|| defaults.seccomp.clone()).unwrap_or(Seccomp::Service),
        landlock: own.landlock.or_else(|| defaults.landlock.clone()).unwrap_or_default(),
        cap_add: own.cap_add,
        masked_paths,
    }
}

fn logging(raw: &RawLogging, defaults: &RawDefaults) -> Logging {
    let driver = raw.driver.or(defaults.log_driver).unwrap_or(LogDriver::File);
    Logging { driver, max_size: raw.max_size.unwrap_or(LOG_SIZE), max_file: raw.max_file.unwrap_or(LOG_FILES) }
}
