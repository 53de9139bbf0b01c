//! The keys of a container's limits, confinement and output.

use super::{Key, Table, Widens, key, table};
use crate::model::{IoLimit, Landlock, LogDriver, Seccomp, Security};
use crate::types::{
    Capability, Count, CpuSet, CpuTime, IoDevice, KernelPath, LandlockRules, LandlockScope, List, Path, ProfilePath,
    SeccompProfile, Sha256, Size, SizeOrZero, UlimitNumber, Whole, Words, list, ports,
};
use crate::values::{ByteSize, Cpus};

/// The most processes that a limit can allow: the kernel's PID_MAX_LIMIT.
const MAX_PIDS: u32 = 4 << 20;

table! { RESOURCES "containers.NAME.resources" "Limits of the container's cgroup; none can be turned off. On cgroup v1 the files of the same limits are written" {
    MEMORY: Size = key("memory", Size::LIMIT, "memory of all processes of the container, page cache included")
        .built_in(|| ByteSize::mib(256)).effect("memory.max").widens(Widens::Larger).example("\"512MiB\"");

    MEMORY_HIGH: Size = key("memory_high", Size::LIMIT, "above it the kernel throttles the container and reclaims its memory")
        .absent("no threshold").effect("memory.high").widens(Widens::Larger).example("\"448MiB\"");

    MEMORY_SWAP: SizeOrZero = key("memory_swap", SizeOrZero, "swap besides memory; 0: none")
        .built_in(|| 0).effect("memory.swap.max").widens(Widens::Larger);

    CPUS: CpuTime = key("cpus", CpuTime, "CPU time, in CPUs")
        .built_in(|| Cpus::ONE).effect("cpu.max").widens(Widens::Larger);

    CPU_WEIGHT: Count<u16> = key("cpu_weight", Count::limit(1, 10_000), "share of CPU time among containers that compete")
        .absent("the kernel's, 100").effect("cpu.weight").widens(Widens::Larger).example("100");

    CPUSET: CpuSet = key("cpuset", CpuSet, "CPUs that the container may run on, such as `\"0-1,3\"`")
        .absent("all").effect("cpuset.cpus").widens(Widens::AnyChange).example("\"0\"");

    PIDS: Count<u32> = key("pids", Count::limit(1, MAX_PIDS), "processes and threads")
        .built_in(|| 128).effect("pids.max").widens(Widens::Larger);

    IO: List<Whole<IoLimit>> = key("io",
        list("a list of tables", "[{ device = \"/dev/mmcblk0\", write_bps = \"8MiB\" }]",
            Whole { table: &IO_LIMIT, example: "{ device = \"/dev/mmcblk0\", write_bps = \"8MiB\" }", read: IoLimit::read })
            .between(IoLimit::each_once),
        "bytes and operations a second of block devices")
        .built_in(Vec::new).effect("io.max").widens(Widens::FewerEntries)
        .example("[{ device = \"/dev/mmcblk0\", read_bps = \"32MiB\", write_bps = \"8MiB\", read_iops = 500, write_iops = 200 }]");
}}

table! { IO_LIMIT "containers.NAME.resources.io[]" "Limits of one block device; at least one of the four numbers" {
    IO_DEVICE: IoDevice = key("device", IoDevice, "path of the block device on the host").required();

    IO_READ_BPS: Size = key("read_bps", Size::LIMIT, "bytes read a second")
        .absent("no limit").effect("io.max rbps").widens(Widens::Larger);

    IO_WRITE_BPS: Size = key("write_bps", Size::LIMIT, "bytes written a second")
        .absent("no limit").effect("io.max wbps").widens(Widens::Larger);

    IO_READ_IOPS: Count<u64> = key("read_iops", Count::limit(1, u64::MAX >> 1), "reads a second")
        .absent("no limit").effect("io.max riops").widens(Widens::Larger);

    IO_WRITE_IOPS: Count<u64> = key("write_iops", Count::limit(1, u64::MAX >> 1), "writes a second")
        .absent("no limit").effect("io.max wiops").widens(Widens::Larger);
}}

table! { ULIMIT "containers.NAME.ulimits.NAME" "Soft and hard limit of one resource" {
    ULIMIT_SOFT: UlimitNumber = key("soft", UlimitNumber, "effective limit; the process may raise it to the hard one")
        .required().effect("rlim_cur of setrlimit").widens(Widens::Larger);

    ULIMIT_HARD: UlimitNumber = key("hard", UlimitNumber, "the highest value of the soft limit")
        .required().effect("rlim_max of setrlimit").widens(Widens::Larger);
}}

table! { SECURITY "containers.NAME.security" "Confinement; nothing here can be turned off" {
    SECCOMP_PROFILE: SeccompProfile = key("seccomp", SeccompProfile,
        "system calls: casemate:service, casemate:minimal, or a file of your own with its digest")
        .built_in(|| Seccomp::Service).in_defaults().effect("seccomp filter, on top of a built-in baseline")
        .widens(Widens::AnyChange)
        .second("{ profile = \"backup.seccomp.toml\", sha256 = \"a283e742ac2d3ab3560dbb5e12a85b47d948b93f13f8e681ea9fc372b4e12a30\" }");

    LANDLOCK_RULES: LandlockRules = key("landlock", LandlockRules,
        "true: rules derived from the root and the mounts; or lists that replace derived ones")
        .built_in(Landlock::default).in_defaults().effect("landlock_restrict_self").widens(Widens::AnyChange);

    CAP_ADD: List<Capability> = key("cap_add",
        list("a list of capabilities", "[\"NET_BIND_SERVICE\"]", Capability).between(Security::each_capability_once),
        "capabilities of the container; policies/ceilings.toml lists the allowed ones with reasons")
        .built_in(Vec::new).effect("permitted, effective, inheritable, ambient and bounding set").widens(Widens::Entry)
        .second("[\"NET_BIND_SERVICE\"]");

    MASKED_PATHS: List<KernelPath> = key("masked_paths", list("a list of paths", "[\"/proc/a\", \"/sys/b\"]", KernelPath),
        "paths to hide besides the built-in ones; those of [defaults] are added")
        .built_in(Vec::new).joined_with_defaults().effect("mount over the path").widens(Widens::FewerEntries)
        .example("[\"/proc/cpuinfo\"]");

    READ_ONLY_PATHS: List<KernelPath> = key("read_only_paths", list("a list of paths", "[\"/proc/a\", \"/sys/b\"]", KernelPath),
        "paths to make read-only besides the built-in ones; those of [defaults] are added")
        .built_in(Vec::new).joined_with_defaults().effect("read-only bind mount over the path")
        .widens(Widens::FewerEntries).example("[\"/proc/tty\"]");
}}

table! { SECCOMP "containers.NAME.security.seccomp" "A seccomp profile of your own" {
    PROFILE: ProfilePath = key("profile", ProfilePath, "file; a relative path begins at the directory of casemate.toml")
        .required().widens(Widens::AnyChange);

    PROFILE_SHA256: Sha256 = key("sha256", Sha256, "digest of that file")
        .required().widens(Widens::AnyChange);
}}

table! { LANDLOCK "containers.NAME.security.landlock" "Lists that replace the derived Landlock rules of their kind" {
    LANDLOCK_READ: List<Path> = key("read", list("a list of paths", "[\"/a\", \"/b\"]", Path), "files below may be read")
        .absent("all").effect("LANDLOCK_ACCESS_FS_READ_FILE, READ_DIR").widens(Widens::EntryOrAbsence).second("[\"/\"]");

    LANDLOCK_WRITE: List<Path> = key("write", list("a list of paths", "[\"/a\", \"/b\"]", Path),
        "files below may be changed")
        .absent("what is mounted writable").effect("LANDLOCK_ACCESS_FS_WRITE_FILE, MAKE_*, REMOVE_*, TRUNCATE, REFER")
        .widens(Widens::EntryOrAbsence).second("[\"/tmp\"]");

    LANDLOCK_EXECUTE: List<Path> = key("execute", list("a list of paths", "[\"/a\", \"/b\"]", Path),
        "files below may be executed")
        .absent("all").effect("LANDLOCK_ACCESS_FS_EXECUTE").widens(Widens::EntryOrAbsence).second("[\"/usr/bin\"]");

    LANDLOCK_BIND: List<Count<u16>> = key("bind_tcp", ports("[443, 5432]"), "TCP ports that may be bound")
        .absent("all").effect("LANDLOCK_ACCESS_NET_BIND_TCP").widens(Widens::EntryOrAbsence).second("[8080]");

    LANDLOCK_CONNECT: List<Count<u16>> = key("connect_tcp", ports("[443, 5432]"), "TCP ports that may be connected to")
        .absent("all").effect("LANDLOCK_ACCESS_NET_CONNECT_TCP").widens(Widens::EntryOrAbsence).second("[5432]");

    LANDLOCK_SCOPE: LandlockScope = key("scope", LandlockScope,
        "fixed; listed for clarity: signals and abstract sockets of other containers are out of reach")
        .built_in(|| ()).effect("LANDLOCK_SCOPE_SIGNAL, ABSTRACT_UNIX_SOCKET")
        .second("[\"signal\", \"abstract_unix_socket\"]");
}}

table! { LOGGING "containers.NAME.logging" "Where stdout and stderr go: always to files, which are bounded and lose nothing within their bounds; \
    `casemate logs` reads them. journald and syslog get each line too, with CASEMATE_CONTAINER, CASEMATE_REVISION and \
    IMAGE_DIGEST, and with the priority that the line names (`<4>text`; `<0>` counts as 1, as priority 0 goes to every \
    terminal of the host), else 3 for stderr and 6 for stdout. Lines that they do not accept are counted there and are in the \
    files. journald's rate limit counts all containers as one service. syslog is /dev/log with records of RFC 5424, at most \
    8 KiB each; a journald that listens there keeps them as they are" {
    LOG_DRIVER: Words<LogDriver> = key("driver",
        Words(&[("file", LogDriver::File), ("journald", LogDriver::Journald), ("syslog", LogDriver::Syslog)]),
        "file; or to journald or syslog too")
        .built_in(|| LogDriver::File).in_defaults();

    LOG_MAX_SIZE: Size = key("max_size", Size::at_least(64 << 10), "size of one file")
        .built_in(|| ByteSize::mib(8)).widens(Widens::Larger);

    LOG_MAX_FILE: Count<u32> = key("max_file", Count::limit(1, 1000), "files kept, the one being written included")
        .built_in(|| 3).widens(Widens::Larger);
}}
