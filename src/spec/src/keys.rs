//! The keys that a file may have, table by table: the decoder takes them from here, so they are complete.

/// The keys of one kind of table.
#[derive(Debug)]
pub struct Keys {
    /// How the table is written.
    pub table: &'static str,
    /// Its keys.
    pub keys: &'static [&'static str],
}

macro_rules! keys {
    ($($name:ident $table:literal [$($key:literal)*])*) => {
        $(pub(super) static $name: Keys = Keys { table: $table, keys: &[$($key),*] };)*
        /// All tables.
        pub static TABLES: &[&Keys] = &[$(&$name),*];
    };
}

keys! {
    ROOT "the file" ["schema" "appliance" "policy" "defaults" "registries" "store" "volumes" "containers" "waivers"]
    APPLIANCE "[appliance]" ["name" "log"]
    POLICY "[policy]" ["require_limits" "pull"]
    DEFAULTS "[defaults]" ["read_only" "init" "cap_drop" "restart" "stop_signal" "stop_grace_period" "security" "logging"]
    DEFAULT_LOGGING "[defaults.logging]" ["driver"]
    DEFAULT_SECURITY "[defaults.security]" ["seccomp" "landlock" "masked_paths"]
    STORE "[store]" ["preload" "keep" "free_space" "verify" "max_concurrent_downloads" "max_download_rate"]
    REGISTRY "[registries.\"HOST[:PORT]\"]" ["mirrors" "ca" "insecure" "auth_file" "credential" "proxy" "ports"]
    VOLUME "[volumes.NAME]" ["persistence"]
    CONTAINER "[containers.NAME]" [
        "image" "user" "share_user_with" "entrypoint" "command" "working_dir" "environment" "hostname" "labels"
        "read_only" "writable_root" "tmpfs" "volumes" "devices" "shm_size" "sysfs" "ulimits" "sysctls"
        "init" "stop_signal" "stop_grace_period" "restart" "resources" "security" "logging"
    ]
    WRITABLE_ROOT "writable_root" ["type" "size" "nr_inodes"]
    MOUNT "a table of `volumes`" ["type" "source" "target" "read_only" "exec" "size"]
    DEVICE "a table of `devices`" ["source" "target" "permissions"]
    ULIMIT "a table of `ulimits`" ["soft" "hard"]
    RESTART "restart" ["policy" "max_retries" "delay" "max_delay" "window"]
    RESOURCES "[containers.NAME.resources]" [
        "memory" "memory_high" "memory_swap" "cpus" "cpu_weight" "cpuset" "pids" "io"
    ]
    IO "a table of `io`" ["device" "read_bps" "write_bps" "read_iops" "write_iops"]
    SECURITY "[containers.NAME.security]" ["seccomp" "landlock" "cap_add" "masked_paths"]
    SECCOMP "seccomp" ["profile" "sha256"]
    LANDLOCK "landlock" ["read" "write" "execute" "bind_tcp" "connect_tcp" "scope"]
    LOGGING "[containers.NAME.logging]" ["driver" "max_size" "max_file"]
    WAIVER "[[waivers]]" ["rule" "container" "reason" "expires"]
}

/// Words of other tools' files, and what to write here.
static FOREIGN: &[(&str, &str)] = &[
    ("env", "environment"),
    ("workdir", "working_dir"),
    ("mem_limit", "resources.memory"),
    ("pids_limit", "resources.pids"),
    ("stop_timeout", "stop_grace_period"),
    ("memory_reservation", "resources.memory_high"),
    ("uid", "user"),
    ("mounts", "volumes"),
];

impl Keys {
    /// What to say about a key that this table does not have.
    pub(super) fn advice(&self, key: &str) -> Option<String> {
        if let Some(near) = super::nearest::nearest(key, self.keys.iter().copied()) {
            return Some(format!("did you mean `{near}`?"));
        }
        if let Some((_, ours)) = FOREIGN.iter().find(|(foreign, _)| *foreign == key) {
            return Some(format!("here it is called `{ours}`"));
        }
        let home = TABLES.iter().find(|table| table.keys.contains(&key))?;
        Some(format!("`{key}` is a key of {}", home.table))
    }
}
