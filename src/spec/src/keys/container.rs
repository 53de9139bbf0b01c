//! The keys of a container, and of its mounts and devices. `[defaults]` has those that are marked so.

use super::{Key, Table, Widens, confinement, key, table};
use crate::model::{Device, Mount, MountType, RestartPolicy, Root};
use crate::types::{
    AnyText, Boolean, CapDrop, Command, ContainerName, Count, Environment, Group, HostName, Image, Labels, List, Path,
    RestartWord, Size, StopSignal, Sysctls, Time, TmpfsMount, Ulimits, UserIds, Whole, Words, WorkingDir,
    default_inodes, list,
};
use crate::values::ByteSize;
use std::collections::BTreeMap;
use std::time::Duration;

table! { TABLE "containers.NAME" "A container. Its name becomes its host name, its cgroup and its directories" {
    IMAGE: Image = key("image", Image, "image, pinned by digest; the tag is informative")
        .required().effect("the lower layers of its overlay mount").widens(Widens::AnyChange)
        .example(POSTGRES).second(POSTGRES);

    USER: UserIds = key("user", UserIds, "uid:gid, digits only; a uid alone is the gid too")
        .required().effect("setresuid, setresgid; the one line of uid_map and gid_map").widens(Widens::AnyChange)
        .example("\"10002:10002\"").second("\"10002:10002\"");

    SHARE_USER_WITH: ContainerName = key("share_user_with", AnyText("name of a container"),
        "container whose uid this container has too; without it, equal uids are an error")
        .absent("the uid is not shared").widens(Widens::AnyChange).second("\"db\"");

    ENTRYPOINT: Command = key("entrypoint", Command::Entrypoint,
        "replaces the image's entrypoint, and drops the image's command")
        .image_default("the image's").effect("execve").widens(Widens::AnyChange).example("[\"postgres\"]");

    COMMAND: Command = key("command", Command::Arguments, "replaces the image's command")
        .image_default("the image's").effect("execve").widens(Widens::AnyChange)
        .example("[\"-c\", \"log_statement=none\"]").second("[\"backup\"]");

    WORKING_DIR: WorkingDir = key("working_dir", WorkingDir, "directory that the command starts in")
        .image_default("the image's, else `\"/\"`").effect("chdir").example("\"/data\"");

    ENVIRONMENT: Environment = key("environment", Environment, "added to the image's variables; overrides them")
        .image_default("the image's").effect("execve").example("{ PGDATA = \"/data/pg\" }");

    HOSTNAME: HostName = key("hostname", HostName, "host name")
        .derived("the container's name", |container| Some(container.name.as_ref()?.value.to_owned()))
        .effect("sethostname").example("\"db.plant\"");

    LABELS: Labels = key("labels", Labels, "labels for people and tools; casemate does not act on them")
        .built_in(BTreeMap::new).example("{ \"org.example.owner\" = \"plant team\" }");

    READ_ONLY: Boolean = key("read_only", Boolean, "only volumes and tmpfs can be written; false needs writable_root")
        .built_in(|| true).in_defaults().effect("mount flag MS_RDONLY of the root").widens(Widens::False)
        .example("false");

    WRITABLE_ROOT: Whole<Root> = key("writable_root",
        Whole { table: &WRITABLE, example: "{ type = \"ephemeral\", size = \"64MiB\" }", read: Root::writable },
        "writable layer of the root; required if read_only is false")
        .absent("the root is read-only").effect("upperdir of its overlay mount").widens(Widens::AnyChange)
        .example("{ type = \"ephemeral\", size = \"64MiB\", nr_inodes = 4096 }");

    TMPFS: List<TmpfsMount> = key("tmpfs", list("a list of tmpfs mounts", "[\"/tmp:size=16MiB\"]", TmpfsMount),
        "PATH:size=SIZE and options: nr_inodes (an inode for each 4 KiB), mode (1777), exec (noexec)")
        .built_in(Vec::new).effect("mount of a tmpfs, nosuid and nodev").widens(Widens::Entry)
        .example("[\"/tmp:size=16MiB,mode=1777,nr_inodes=1024\", \"/run/postgresql:size=1MiB,noexec\"]");

    VOLUMES: List<Whole<Mount>> = key("volumes",
        list("a list of tables", "[{ type = \"volume\", source = \"data\", target = \"/data\" }]",
            Whole { table: &MOUNT, example: "{ type = \"volume\", source = \"data\", target = \"/data\" }", read: Mount::read }),
        "named volumes, binds of host paths, and tmpfs; all are nosuid and nodev")
        .built_in(Vec::new).effect("mount").widens(Widens::Entry)
        .example("[\n  { type = \"volume\", source = \"db\", target = \"/data\" },\n  \
            { type = \"bind\", source = \"/srv/reports\", target = \"/reports\", read_only = true },\n  \
            { type = \"tmpfs\", target = \"/scratch\", size = \"8MiB\", exec = true },\n]")
        .second("[{ type = \"volume\", source = \"db\", target = \"/data\", read_only = true }]");

    DEVICES: List<Whole<Device>> = key("devices",
        list("a list of tables", "[{ source = \"/dev/ttyS0\", permissions = \"rw\" }]",
            Whole { table: &DEVICE, example: "{ source = \"/dev/ttyS0\", permissions = \"rw\" }", read: |device, _| Device::read(device) }),
        "device nodes of the host")
        .built_in(Vec::new).effect("bind mount below its /dev").widens(Widens::Entry)
        .example("[{ source = \"/dev/ttyS0\", target = \"/dev/meter\", permissions = \"rw\" }]");

    SHM_SIZE: Size = key("shm_size", Size::LIMIT, "size of /dev/shm")
        .built_in(|| ByteSize::mib(64)).effect("mount option size of the tmpfs on /dev/shm").widens(Widens::Larger);

    SYSFS: Boolean = key("sysfs", Boolean, "true: /sys is mounted, read-only")
        .built_in(|| false).effect("mount of sysfs, read-only").widens(Widens::True);

    ULIMITS: Ulimits = key("ulimits", Ulimits, "resource limits by docker's names; one number sets soft and hard")
        .absent("`{ core = 0, nofile = { soft = 1024, hard = 4096 } }`").effect("setrlimit").widens(Widens::AnyChange)
        .example("{ nofile = { soft = 1024, hard = 2048 }, core = 0 }");

    SYSCTLS: Sysctls = key("sysctls", Sysctls, "sysctls of the container's namespaces; only reviewed ones can be set")
        .built_in(BTreeMap::new).effect("files below /proc/sys").widens(Widens::AnyChange)
        .example("{ \"net.ipv4.tcp_keepalive_time\" = \"60\" }");

    INIT: Boolean = key("init", Boolean, "true: a small init is pid 1, which forwards signals and reaps")
        .built_in(|| false).in_defaults().effect("execve of casemate-init").example("true");

    CAP_DROP: CapDrop = key("cap_drop", CapDrop, "fixed; listed for clarity: every capability is dropped")
        .built_in(|| ()).only_in_defaults().effect("all five capability sets are empty");

    STOP_SIGNAL: StopSignal = key("stop_signal", StopSignal, "signal that asks the container to stop")
        .image_default("the image's, else `\"SIGTERM\"`").in_defaults().effect("kill").example("\"SIGINT\"");

    STOP_GRACE_PERIOD: Time = key("stop_grace_period", Time, "time from the stop signal to SIGKILL")
        .built_in(|| Duration::from_secs(10)).in_defaults().example("\"1m30s\"");

    RESTART_TABLE: Group = key("restart", Group { short: Some(RESTART_POLICY.about.name), ..Group::of(&RESTART) },
        "when the container is restarted after its exit; a policy, or a table").in_defaults().second("\"no\"");

    RESOURCES_TABLE: Group = key("resources", Group::of(&confinement::RESOURCES), "limits of the container's cgroup");

    SECURITY_TABLE: Group = key("security", Group::of(&confinement::SECURITY), "confinement").in_defaults();

    LOGGING_TABLE: Group = key("logging", Group::of(&confinement::LOGGING), "where the container's output goes").in_defaults();
}}

/// The image of the examples; the digest is a placeholder.
const POSTGRES: &str =
    "\"docker.io/library/postgres:17@sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc\"";

table! { WRITABLE "containers.NAME.writable_root" "Writable layer of the root" {
    ROOT_TYPE: Words<bool> = key("type", Words(&[("ephemeral", true), ("persistent", false)]),
        "ephemeral: a tmpfs that ends with the container; persistent: a directory that outlives it")
        .required().widens(Widens::AnyChange);

    ROOT_SIZE: Size = key("size", Size::LIMIT, "size of the tmpfs; required for ephemeral")
        .absent("none for persistent").effect("mount option size").widens(Widens::Larger);

    ROOT_INODES: Count<u64> = key("nr_inodes", Count::limit(1, u64::MAX >> 1), "files and directories on the tmpfs")
        .derived("one for each 4 KiB of size", |root| root.get(&ROOT_SIZE).map(default_inodes))
        .effect("mount option nr_inodes").widens(Widens::Larger);
}}

table! { MOUNT "containers.NAME.volumes[]" "A mount: a named volume, a path of the host, or a tmpfs" {
    MOUNT_TYPE: Words<MountType> = key("type",
        Words(&[("volume", MountType::Volume), ("bind", MountType::Bind), ("tmpfs", MountType::Tmpfs)]),
        "a volume of the file, a path of the host, or a tmpfs")
        .required().widens(Widens::AnyChange);

    MOUNT_SOURCE: AnyText = key("source", AnyText("name of a volume, or absolute path on the host"),
        "the volume's name, or the path on the host; required but for a tmpfs")
        .absent("none for a tmpfs").widens(Widens::AnyChange);

    MOUNT_TARGET: Path = key("target", Path, "path in the container")
        .required().widens(Widens::AnyChange);

    MOUNT_READ_ONLY: Boolean = key("read_only", Boolean, "it cannot be written")
        .derived("true for a bind, false for a volume", |mount| Some(mount.get(&MOUNT_TYPE)? == MountType::Bind))
        .effect("mount flag MS_RDONLY").widens(Widens::False);

    MOUNT_EXEC: Boolean = key("exec", Boolean, "files on it can be executed")
        .built_in(|| false).effect("mount flag MS_NOEXEC where it is false").widens(Widens::True);

    MOUNT_SIZE: Size = key("size", Size::LIMIT, "size; required for a tmpfs, and for nothing else")
        .absent("none for a volume or bind").effect("mount option size").widens(Widens::Larger);
}}

table! { DEVICE "containers.NAME.devices[]" "A device node of the host" {
    DEVICE_SOURCE: Path = key("source", Path, "path on the host, below /dev")
        .required().widens(Widens::AnyChange);

    DEVICE_TARGET: Path = key("target", Path, "path in the container, below /dev")
        .derived("the same path", |device| device.get(&DEVICE_SOURCE));

    DEVICE_PERMISSIONS: Words<bool> = key("permissions", Words(&[("r", false), ("rw", true)]), "read, or read and write")
        .built_in(|| false).effect("mount flag MS_RDONLY; Landlock").widens(Widens::Words(&["r", "rw"]));
}}

table! { RESTART "containers.NAME.restart" "When a container is started again after it ended, and how fast" {
    RESTART_POLICY: RestartWord = key("policy",
        RestartWord(Words(&[("no", RestartPolicy::No), ("on-failure", RestartPolicy::OnFailure), ("always", RestartPolicy::Always)])),
        "never, after an exit code other than 0, or after each exit that was not a stop")
        .built_in(|| RestartPolicy::OnFailure).stated();

    RESTART_MAX_RETRIES: Count<u32> = key("max_retries", Count::limit(1, 1_000_000),
        "restarts in a row; then the container has failed and stays down")
        .built_in(|| 10);

    RESTART_DELAY: Time = key("delay", Time, "before the first restart, then doubled each time")
        .built_in(|| Duration::from_secs(1));

    RESTART_MAX_DELAY: Time = key("max_delay", Time, "the longest delay")
        .built_in(|| Duration::from_secs(60));

    RESTART_WINDOW: Time = key("window", Time, "after a run of this length, count and delay begin afresh")
        .built_in(|| Duration::from_secs(600));
}}
