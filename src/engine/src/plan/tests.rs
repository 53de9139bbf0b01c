//! Plans of complete files: text in, job out.

use super::*;
use casemate_image::{ImageConfig, Layer};
use casemate_spec::Date;
use casemate_wire::{CgroupFacts, Limits, Mount, PathAccess, Process, Rlimit};

const ALL: PathAccess = PathAccess { read: true, write: true, execute: true, ioctl_dev: false };

/// A file with one container; `lines` are added to its table.
fn spec(lines: &str) -> Spec {
    let image = format!("site.example/app@sha256:{}", "1".repeat(64));
    let text = format!(
        "schema = 1\n[appliance]\nname = \"test\"\n[volumes.data]\n[containers.web]\nimage = \"{image}\"\nuser = \"1000:1001\"\n\
         resources = {{ memory = \"64MiB\", pids = 10, cpus = 0.5 }}\n{lines}\n"
    );
    match casemate_spec::parse(&text, Date::from_unix(1_795_219_200)) {
        Ok((spec, _)) => spec,
        Err(findings) => panic!("{text}\n{findings:#?}"),
    }
}

fn image() -> Image {
    let digest = Digest::from_bytes([2; 32]);
    let config = ImageConfig { cmd: vec!["/bin/app".to_owned()], ..ImageConfig::default() };
    let layer = Layer { blob: digest, size: 1, diff_id: digest, chain_id: Digest::from_bytes([3; 32]) };
    Image { manifest: digest, config, layers: vec![layer], names: Vec::new() }
}

fn facts() -> HelperFacts {
    let all = ["memory", "pids", "cpu", "cpuset", "io"].map(str::to_owned).to_vec();
    HelperFacts {
        job_version: casemate_wire::JOB_VERSION,
        ids: IdSpace::Range { count: 65_535 },
        cgroup: CgroupFacts { v2: all, v1: Vec::new() },
        landlock: 7,
    }
}

fn plan_with(lines: &str, image: &Image, facts: &HelperFacts) -> Result<Job, Error> {
    let spec = spec(lines);
    job(&spec, spec.container("web").unwrap(), image, facts, &ContainerFacts { cpus: 2, ..ContainerFacts::default() })
}

fn plan_of(lines: &str) -> Job {
    plan_with(lines, &image(), &facts()).unwrap()
}

fn refused(lines: &str, image: &Image, facts: &HelperFacts) -> Error {
    let error = plan_with(lines, image, facts).unwrap_err();
    assert_eq!(error.container.as_str(), "web");
    assert!(error.remedy.is_some(), "{error}");
    error
}

fn texts(bytes: &[Vec<u8>]) -> Vec<&str> {
    bytes.iter().map(|text| std::str::from_utf8(text).unwrap()).collect()
}

fn access(job: &Job, path: &str) -> Option<PathAccess> {
    job.confinement.landlock.paths.iter().find(|rule| rule.path == path).map(|rule| rule.access)
}

#[test]
fn minimal_file_gets_every_protection() {
    let job = plan_of("");
    assert_eq!((job.name.as_str(), job.network.hostname.as_str()), ("web", "web"));
    assert_eq!(job.rootfs.layers, [Digest::from_bytes([3; 32])]);
    assert_eq!(job.rootfs.writable_root, WritableRoot::None);
    assert_eq!((job.confinement.ids.uid, job.confinement.ids.gid), (1000, 1001));
    assert_eq!(job.rootfs.shm_size, 64 << 20);
    assert!(
        job.confinement.capabilities.is_empty()
            && job.network.sysctls.is_empty()
            && job.rootfs.devices.is_empty()
            && job.rootfs.mounts.is_empty()
    );
    assert!(!job.rootfs.sysfs && !job.process.init && job.confinement.landlock.scoped);
    assert_eq!(job.process.cwd, "/");
    assert_eq!(texts(&job.process.argv), ["/bin/app"]);
    let path = format!("PATH={}", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    assert_eq!(texts(&job.process.env), ["HOME=/", &path]);
    let limits = [(4, 0, 0), (7, 1024, 4096)].map(|(resource, soft, hard)| Rlimit { resource, soft, hard });
    assert_eq!(job.process.rlimits, limits);
    let Limits::Enforced(resources) = &job.limits else { panic!("{:?}", job.limits) };
    assert_eq!((resources.memory.max, resources.memory.swap, resources.pids), (64 << 20, 0, 10));
    assert_eq!(resources.cpu_quota, Some(50_000));
    let hosts = &job.network.hosts;
    let resolv = &job.network.resolv_conf;
    assert!(hosts.starts_with(b"127.0.0.1\tlocalhost\n") && hosts.ends_with(b"\tweb\n"));
    assert!(resolv.starts_with(b"#") && !resolv.windows(10).any(|part| part == b"nameserver"));
}

#[test]
fn digest_changes_with_the_job() {
    let job = plan_of("");
    let zero = Job { digest: Digest::from_bytes([0; 32]), ..job.clone() };
    let bytes = zero.encode().unwrap();
    assert_eq!(job.digest.as_bytes().as_slice(), Sha256::digest(&bytes).as_slice());
    assert_eq!(Job::decode(&job.encode().unwrap()).unwrap(), job);
    assert_eq!(job, plan_of(""));
    assert_ne!(job.digest, plan_of("hostname = \"other\"").digest);
    assert_ne!(job.digest, plan_of("environment = { A = \"1\" }").digest);
}

#[test]
fn entrypoint_and_command_combine_as_in_docker() {
    let words = |entrypoint: &[&str], cmd: &[&str], lines: &str| {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let mut image = image();
        image.config = ImageConfig { entrypoint: owned(entrypoint), cmd: owned(cmd), ..ImageConfig::default() };
        plan_with(lines, &image, &facts()).map(|job| texts(&job.process.argv).join(" "))
    };
    let both: (&[&str], &[&str]) = (&["/e", "x"], &["c", "d"]);
    assert_eq!(words(both.0, both.1, "").unwrap(), "/e x c d");
    assert_eq!(words(both.0, both.1, "command = [\"n\"]").unwrap(), "/e x n");
    assert_eq!(words(both.0, both.1, "entrypoint = [\"/n\"]").unwrap(), "/n");
    assert_eq!(words(both.0, both.1, "entrypoint = [\"/n\"]\ncommand = [\"m\"]").unwrap(), "/n m");
    assert_eq!(words(&[], both.1, "").unwrap(), "c d");
    for (entrypoint, cmd) in [(&[] as &[&str], &[] as &[&str]), (&[""], &[]), (&[], &["", "x"])] {
        let error = words(entrypoint, cmd, "").unwrap_err();
        assert_eq!((error.rule, error.code), ("command", Code::Spec), "{error}");
    }
}

#[test]
fn environment_of_the_file_overrides_the_images() {
    let mut image = image();
    image.config.env = ["PATH=/app", "A=1", "B=2", "A=3"].map(str::to_owned).to_vec();
    let job = plan_with("environment = { B = \"x=y\", HOME = \"/data\" }", &image, &facts()).unwrap();
    assert_eq!(texts(&job.process.env), ["A=3", "B=x=y", "HOME=/data", "PATH=/app"]);
    image.config.env = vec!["A=1\0B=2".to_owned()];
    assert_eq!(plan_with("", &image, &facts()).unwrap_err().rule, "process-nul");
}

#[test]
fn threat_10_user_of_the_image_is_ignored() {
    for user in ["root", "0", "0:0", "4294967295", "4294967296", "-1", "+0", " 0", "00", "app:root", "", "1000:0", "\0"]
    {
        let mut image = image();
        image.config.user = Some(user.to_owned());
        assert_eq!(plan_with("", &image, &facts()).unwrap(), plan_of(""), "{user:?}");
    }
    let short = HelperFacts { ids: IdSpace::Range { count: 1000 }, ..facts() };
    let error = refused("", &image(), &short);
    assert_eq!((error.rule, error.code), ("user-range", Code::NotEnforceable));
    let single = HelperFacts { ids: IdSpace::Single, ..facts() };
    assert_eq!(plan_with("", &image(), &single).unwrap().confinement.ids.uid, 1000);
}

#[test]
fn threat_10_user_is_one_or_two_plain_numbers() {
    let parse = |user: &str| {
        let image = format!("site.example/app@sha256:{}", "1".repeat(64));
        let user: String = user.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
        let text = format!(
            "schema = 1\n[appliance]\nname = \"test\"\n[containers.web]\nimage = \"{image}\"\nuser = \"{user}\"\n\
             resources = {{ memory = \"64MiB\", pids = 10, cpus = 0.5 }}\n"
        );
        casemate_spec::parse(&text, Date::from_unix(1_795_219_200))
    };
    for (user, uid, gid) in [("1", 1, 1), ("65534", 65534, 65534), ("1000:1", 1000, 1), ("10:65534", 10, 65534)] {
        let (spec, _) = parse(user).unwrap_or_else(|findings| panic!("{user}: {findings:?}"));
        let user = spec.container("web").unwrap().user;
        assert_eq!((user.uid.get(), user.gid.get()), (uid, gid));
    }
    let refused = [
        "", ":", "0", "0:0", "1000:0", "0:1000", "00", "01000", "1000:01", "+1000", "-1", "-1:1000", "1000:-1",
        "1000:", ":1000", "1000:1000:1000", "1000,1000", " 1000", "1000 ", "1000\t", "1000\n", "\n1000", "1000\0",
        "1_000", "1e3", "0x3e8", "0o1750", "1000.0", "root", "nobody", "app:app", "1000:app", "app:1000", "65535",
        "65536", "4294966296", "4294967295", "4294967296", "4294968296", "18446744073709551616",
        "18446744073709552616", "\u{0661}\u{0660}\u{0660}\u{0660}", "\u{ff11}\u{ff10}", "1000\u{a0}", "\u{feff}1000",
    ];
    for user in refused {
        let findings = parse(user).map(|_| ()).unwrap_err();
        assert!(
            findings.iter().any(|finding| finding.rule.starts_with("user") || finding.rule == "nul-byte"),
            "{user:?}: {findings:?}"
        );
    }
}

#[test]
fn threat_13_image_config_changes_process_and_volumes_only() {
    let mut image = image();
    image.config = ImageConfig {
        working_dir: Some("/srv".to_owned()),
        user: Some("root".to_owned()),
        stop_signal: Some("SIGKILL".to_owned()),
        exposed_ports: vec!["22/tcp".to_owned()],
        labels: [("io.container.privileged".to_owned(), "true".to_owned())].into(),
        ..image.config
    };
    let job = plan_with("", &image, &facts()).unwrap();
    let mut plain = plan_of("");
    plain.process = Process { cwd: "/srv".to_owned(), ..plain.process };
    plain.digest = job.digest;
    assert_eq!(job, plain);
    for (cwd, normal) in [("/app/", "/app"), ("//a/./b//", "/a/b"), ("/", "/")] {
        image.config.working_dir = Some(cwd.to_owned());
        assert_eq!(plan_with("", &image, &facts()).unwrap().process.cwd, normal);
    }
    for cwd in ["srv", "", "/a\0b", "/a/../b", ".."] {
        image.config.working_dir = Some(cwd.to_owned());
        assert_eq!(plan_with("", &image, &facts()).unwrap_err().rule, "working-dir", "{cwd:?}");
        assert_eq!(plan_with("working_dir = \"/data\"", &image, &facts()).unwrap().process.cwd, "/data");
    }
}

#[test]
fn threat_13_image_volume_is_a_sized_tmpfs_and_never_a_host_path() {
    let volumes = |paths: &[&str], lines: &str| {
        let mut image = image();
        image.config.volumes = paths.iter().map(|&path| path.to_owned()).collect();
        plan_with(lines, &image, &facts()).map(|job| job.rootfs.mounts)
    };
    let tmpfs = |target: &str| Mount::Tmpfs {
        target: target.to_owned(),
        size: 64 << 20,
        inodes: 65_536,
        mode: 0o755,
        exec: false,
    };
    assert_eq!(volumes(&["/data/", "/data/sub", "/var/x"], "").unwrap(), [tmpfs("/data"), tmpfs("/var/x")]);
    let lines = "volumes = [{ type = \"volume\", source = \"data\", target = \"/data\" }]";
    for path in ["/data", "/data/sub", "/data/"] {
        assert_eq!(volumes(&[path], lines).unwrap().len(), 1, "{path}");
    }
    for path in [
        "", "/", "//", "data", "/..", "/a/../b", "/a//b", "/./a", "/proc", "/proc/self", "/dev/shm", "/sys",
        "/etc/hosts", "/etc", "/a\nb",
    ] {
        let error = volumes(&[path], "").unwrap_err();
        assert_eq!((error.rule, error.code), ("image-volume", Code::Spec), "{path:?}");
    }
    let many: Vec<String> = (0..33).map(|number| format!("/v{number}")).collect();
    assert!(volumes(&many.iter().map(String::as_str).collect::<Vec<_>>(), "").is_err());
}

#[test]
fn landlock_rules_follow_the_mounts() {
    let lines = "tmpfs = [\"/tmp:size=16MiB\"]\nvolumes = [{ type = \"volume\", source = \"data\", target = \"/data\" },\n\
                 { type = \"bind\", source = \"/srv/site\", target = \"/site\" }]\n\
                 devices = [{ source = \"/dev/ttyS0\", target = \"/dev/modem\", permissions = \"rw\" }, { source = \"/dev/rtc0\", permissions = \"r\" }]";
    let job = plan_of(lines);
    let writes: Vec<&str> =
        job.confinement.landlock.paths.iter().filter(|rule| rule.access.write).map(|rule| rule.path.as_str()).collect();
    assert_eq!(
        writes,
        [
            "/data", "/dev/full", "/dev/modem", "/dev/null", "/dev/pts", "/dev/random", "/dev/shm", "/dev/tty",
            "/dev/urandom", "/dev/zero", "/proc", "/tmp"
        ]
    );
    assert_eq!(access(&job, "/"), Some(PathAccess { write: false, ..ALL }));
    let device = access(&job, "/dev/rtc0").unwrap();
    assert!(device.read && !device.write && !device.ioctl_dev && !device.execute);
    assert_eq!(
        (job.confinement.landlock.bind_tcp.as_ref(), job.confinement.landlock.connect_tcp.as_ref()),
        (None, None)
    );
    assert_eq!(
        access(&plan_of("read_only = false\nwritable_root = { type = \"ephemeral\", size = \"16MiB\" }"), "/"),
        Some(ALL)
    );
}

#[test]
fn file_narrows_landlock_and_the_fixed_rules_stay() {
    let narrow = "[containers.web.security]\nlandlock = { read = [\"/app\"], write = [], execute = [\"/app/bin\"], connect_tcp = [443] }";
    let job = plan_of(&format!("tmpfs = [\"/tmp:size=1MiB\"]\n{narrow}"));
    assert_eq!(access(&job, "/"), None);
    assert_eq!(access(&job, "/tmp"), None);
    assert_eq!(access(&job, "/app"), Some(PathAccess { write: false, execute: false, ..ALL }));
    assert_eq!(access(&job, "/app/bin"), Some(PathAccess { read: false, write: false, ..ALL }));
    assert!(access(&job, "/dev/null").unwrap().write && access(&job, "/proc").unwrap().read);
    assert_eq!(job.confinement.landlock.connect_tcp, Some(vec![443]));
    let old = HelperFacts { landlock: 3, ..facts() };
    let error = refused(narrow, &image(), &old);
    assert_eq!((error.rule, error.code), ("landlock-tcp", Code::NotEnforceable));
    assert!(!plan_with("", &image(), &old).unwrap().confinement.landlock.scoped);
    let error = refused("", &image(), &HelperFacts { landlock: 0, ..facts() });
    assert_eq!((error.rule, error.code), ("landlock", Code::NotEnforceable));
}

#[test]
fn read_only_device_is_refused_where_dev_is_writable() {
    let device = "devices = [{ source = \"/dev/rtc0\", permissions = \"r\" }]";
    let writable = "read_only = false\nwritable_root = { type = \"ephemeral\", size = \"16MiB\" }";
    assert!(plan_with(device, &image(), &facts()).is_ok());
    let error = refused(&format!("{device}\n{writable}"), &image(), &facts());
    assert_eq!((error.rule, error.code), ("device-read-only", Code::NotEnforceable));
    let narrowed = format!("{device}\n{writable}\n[containers.web.security]\nlandlock = {{ write = [\"/srv\"] }}");
    assert!(plan_with(&narrowed, &image(), &facts()).is_ok());
    let dev = format!("{device}\n[containers.web.security]\nlandlock = {{ write = [\"/dev\"] }}");
    assert_eq!(plan_with(&dev, &image(), &facts()).unwrap_err().rule, "device-read-only");
}

#[test]
fn threat_27_proc_is_masked_and_minimal_sees_processes_only() {
    let job = plan_of("");
    assert!(!job.rootfs.proc.subset_pid);
    // moby's list (daemon/pkg/oci/defaults.go) and the threat's own, as far as procfs has them.
    for path in [
        "acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "sysrq-trigger",
        "timer_list", "timer_stats",
    ] {
        assert!(job.rootfs.proc.masked.contains(&format!("/proc/{path}")), "{path}");
    }
    assert_eq!(job.rootfs.proc.read_only, ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/pressure", "/proc/sys"]);
    assert!(!job.rootfs.proc.masked.iter().any(|path| path.starts_with("/sys")));
    let sysfs = plan_of("sysfs = true").rootfs.proc.masked;
    for path in ["/sys/firmware", "/sys/devices/virtual/powercap", "/sys/devices/system/cpu/cpu1/thermal_throttle"] {
        assert!(sysfs.iter().any(|masked| masked == path), "{path}");
    }
    let minimal = plan_of("security = { seccomp = \"casemate:minimal\" }");
    assert!(
        minimal.rootfs.proc.subset_pid
            && minimal.rootfs.proc.masked.is_empty()
            && minimal.rootfs.proc.read_only.is_empty()
    );
    assert_ne!(minimal.confinement.seccomp, job.confinement.seccomp);
    let own = plan_of("security = { masked_paths = [\"/proc/version\"] }");
    assert!(own.rootfs.proc.masked.contains(&"/proc/version".to_owned()));
}

#[test]
fn threat_28_limits_are_enforced_or_the_start_is_refused() {
    let facts_of = |v2: &[&str], v1: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
        HelperFacts { cgroup: CgroupFacts { v2: owned(v2), v1: owned(v1) }, ..facts() }
    };
    for missing in ["memory", "pids", "cpu"] {
        let rest: Vec<&str> = ["memory", "pids", "cpu"].into_iter().filter(|name| *name != missing).collect();
        let error = refused("", &image(), &facts_of(&rest, &[]));
        assert_eq!((error.rule, error.code), ("limits", Code::NotEnforceable));
        assert!(error.reason.contains(missing), "{error}");
    }
    let v1 = facts_of(&["io"], &["memory", "pids", "cpu"]);
    assert!(matches!(plan_with("", &image(), &v1).unwrap().limits, Limits::Enforced(_)));
    let with = |key: &str| format!("[containers.web.resources]\nmemory = \"64MiB\"\npids = 10\ncpus = 0.5\n{key}");
    let text = |key: &str, facts: &HelperFacts| {
        let image_line = format!("image = \"site.example/app@sha256:{}\"", "1".repeat(64));
        let text = format!(
            "schema = 1\n[appliance]\nname = \"test\"\n[containers.web]\n{image_line}\nuser = \"1000\"\n{}\n",
            with(key)
        );
        let (spec, _) = casemate_spec::parse(&text, Date::from_unix(1_795_219_200)).unwrap();
        job(&spec, spec.container("web").unwrap(), &image(), facts, &ContainerFacts::default())
    };
    let high = "memory_high = \"32MiB\"";
    assert!(text(high, &v1).unwrap_err().reason.contains("memory_high"));
    assert!(text(high, &facts()).is_ok());
    assert!(text("cpuset = \"0\"", &v1).unwrap_err().reason.contains("cpuset"));
    let io = "io = [{ device = \"/dev/sda\", read_bps = \"1MiB\" }]";
    assert!(text(io, &facts_of(&["memory", "pids", "cpu"], &[])).unwrap_err().reason.contains("io"));
    assert_eq!(text(io, &facts()).unwrap_err().rule, "io-device");
}

#[test]
fn waiver_applies_only_where_limits_cannot_be_enforced() {
    let waiver =
        "[[waivers]]\nrule = \"limits\"\ncontainer = \"web\"\nreason = \"no cgroup here\"\nexpires = 2027-01-31";
    let bare = HelperFacts { cgroup: CgroupFacts::default(), ..facts() };
    assert_eq!(plan_with(waiver, &image(), &bare).unwrap().limits, Limits::Waived);
    assert!(matches!(plan_with(waiver, &image(), &facts()).unwrap().limits, Limits::Enforced(_)));
}

#[test]
fn net_bind_service_opens_low_ports_by_sysctl() {
    let job = plan_of("security = { cap_add = [\"NET_BIND_SERVICE\"] }");
    assert_eq!(job.confinement.capabilities, [ceiling::NET_BIND_SERVICE]);
    assert_eq!(job.network.sysctls, [("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned())]);
    let own = "sysctls = { \"net.ipv4.ip_unprivileged_port_start\" = \"443\" }\nsecurity = { cap_add = [\"NET_BIND_SERVICE\"] }";
    assert_eq!(plan_of(own).network.sysctls.len(), 1);
    assert_eq!(plan_of(own).network.sysctls[0].1, "443");
}

#[test]
fn plan_checks_ceilings_again() {
    let spec = spec("");
    let mut container = spec.container("web").unwrap().clone();
    let plan = |container: &ContainerSpec| job(&spec, container, &image(), &facts(), &ContainerFacts::default());
    container.security.cap_add = vec![21];
    assert_eq!(plan(&container).unwrap_err().rule, "cap-add");
    container.security.cap_add.clear();
    container.sysctls.insert("kernel.core_pattern".to_owned(), "1".to_owned());
    assert_eq!(plan(&container).unwrap_err().rule, "sysctl");
}

#[test]
fn custom_profile_is_verified_by_its_digest() {
    let directory = tempfile::tempdir().unwrap();
    let text = "schema = 1\ncomment = \"test\"\n[[allow]]\ncomment = \"all\"\ncalls = [\"execve\"]\n";
    std::fs::write(directory.path().join("own.toml"), text).unwrap();
    let read = |digest: &str, name: &str| {
        let line = format!("security = {{ seccomp = {{ profile = \"{name}\", sha256 = \"{digest}\" }} }}");
        let spec = spec(&line);
        let container = spec.container("web").unwrap();
        let found = ContainerFacts::read(container, directory.path(), &HostFacts::default())?;
        job(&spec, container, &image(), &facts(), &found)
    };
    let right = Digest::from_bytes(Sha256::digest(text).into()).hex();
    let job = read(&right, "own.toml").unwrap();
    assert_ne!(job.confinement.seccomp, plan_of("").confinement.seccomp);
    let error = read(&"0".repeat(64), "own.toml").unwrap_err();
    assert_eq!((error.rule, error.code), ("seccomp-profile", Code::Verification), "{error}");
    assert_eq!(read(&right, "none.toml").unwrap_err().code, Code::Spec);
}
