//! The probe's report from inside, compared with what the file and the documents promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::{Container, Feature, Instance, Mode, Report, Spec, both_modes, host, needs, poll};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

/// The report of a container whose file says nothing but image, user and limits. Booted once for each mode.
fn plain(mode: Mode) -> &'static Report {
    static ROOT: OnceLock<Report> = OnceLock::new();
    static USER: OnceLock<Report> = OnceLock::new();
    let cell = if mode == Mode::Root { &ROOT } else { &USER };
    cell.get_or_init(|| Instance::new(mode).report(|container| container))
}

/// As [`plain`], with the smaller system call profile.
fn minimal(mode: Mode) -> &'static Report {
    static ROOT: OnceLock<Report> = OnceLock::new();
    static USER: OnceLock<Report> = OnceLock::new();
    let cell = if mode == Mode::Root { &ROOT } else { &USER };
    cell.get_or_init(|| {
        Instance::new(mode).report(|container| container.set("security", "{ seccomp = \"casemate:minimal\" }"))
    })
}

fn has(options: &[String], option: &str) -> bool {
    options.iter().any(|there| there == option)
}

both_modes! {
    fn process_has_the_ids_of_its_container_and_no_others_are_mapped(mode) {
        let id = &plain(mode).identity;
        assert_eq!(id.uid, [10_001; 3]);
        assert_eq!(id.gid, [10_001; 3]);
        assert!(id.groups.is_empty(), "{:?}", id.groups);
        for map in [&id.uid_map, &id.gid_map] {
            assert_eq!(map.len(), 1, "{map:?}");
            assert_eq!((map[0][0], map[0][2]), (10_001, 1), "{map:?}");
        }
        assert_eq!(id.setgroups, "deny");
    }

    fn setuid_to_other_ids_fails(mode) {
        let attempts = &plain(mode).surroundings.attempts;
        for attempt in ["become root", "become another user"] {
            assert!(["EINVAL", "EPERM"].contains(&attempts[attempt].as_str()), "{attempt}: {}", attempts[attempt]);
        }
        assert_ne!(attempts["write own uid_map"], "worked");
    }

    fn all_five_capability_sets_are_empty(mode) {
        let sets = &plain(mode).identity.capabilities;
        for set in [&sets.inheritable, &sets.permitted, &sets.effective, &sets.bounding, &sets.ambient] {
            assert_eq!(set, "0000000000000000", "{sets:?}");
        }
    }

    fn exec_gains_no_privilege(mode) {
        assert!(plain(mode).identity.no_new_privs);
    }

    fn profile_is_stacked_on_the_baseline(mode) {
        for report in [plain(mode), minimal(mode)] {
            assert_eq!(report.identity.seccomp_mode, 2);
            // The helper's own, the baseline, the profile.
            assert_eq!(report.identity.seccomp_filters, 3);
        }
    }

    fn forbidden_calls_fail_in_both_profiles(mode) {
        for report in [plain(mode), minimal(mode)] {
            assert!(report.calls.len() > 80, "{}", report.calls.len());
            for (call, answer) in &report.calls {
                let right = match call.as_str() {
                    "clone3" | "unknown call 1000" => answer == "ENOSYS",
                    foreign if foreign.starts_with("int 0x80") || foreign.starts_with("x32") => answer == "killed by SIGSYS",
                    _ => answer == "EPERM",
                };
                assert!(right, "{call}: {answer}");
            }
        }
    }

    fn sockets_are_limited_to_the_listed_families(mode) {
        for report in [plain(mode), minimal(mode)] {
            for (socket, answer) in &report.sockets {
                let family = socket.split('/').next().unwrap();
                let listed = match family {
                    "AF_UNIX" => true,
                    "AF_INET" | "AF_INET6" => !socket.contains("/RAW/") && !socket.ends_with("/socketpair"),
                    "AF_NETLINK" => !socket.ends_with("NETLINK_XFRM") && !socket.ends_with("/socketpair"),
                    _ => false,
                };
                assert!(listed || ["EPERM", "EAFNOSUPPORT"].contains(&answer.as_str()), "{socket}: {answer}");
            }
        }
        // An allow list that lets nothing through would pass all of the above.
        for family in ["AF_UNIX/STREAM", "AF_INET/STREAM", "AF_INET6/DGRAM"] {
            assert_eq!(plain(mode).sockets[family], "worked", "{family}");
        }
    }

    fn mounts_are_nosuid_nodev_and_private(mode) {
        let mounts = &plain(mode).mounts;
        assert!(mounts.iter().any(|mount| mount.target == "/proc" && mount.kind == "proc"), "{mounts:?}");
        for mount in mounts {
            assert!(has(&mount.options, "nosuid"), "{mount:?}");
            assert!(mount.propagation.is_empty(), "{mount:?}");
            // Device nodes that are bound one by one, and /dev/null as the mask of a file.
            let bound_device = mount.target.starts_with("/dev/") || mount.root == "/null";
            assert!(bound_device || has(&mount.options, "nodev"), "{mount:?}");
        }
    }

    fn root_is_a_read_only_overlay(mode) {
        let mounts = &plain(mode).mounts;
        let root = mounts.iter().rfind(|mount| mount.target == "/").unwrap();
        assert_eq!(root.kind, "overlay");
        assert!(has(&root.options, "ro"), "{root:?}");
        assert!(has(&root.super_options, "userxattr"), "{root:?}");
    }

    fn sysfs_and_cgroupfs_are_not_mounted(mode) {
        for mount in &plain(mode).mounts {
            assert!(!["sysfs", "cgroup", "cgroup2", "securityfs", "debugfs", "bpf"].contains(&mount.kind.as_str()), "{mount:?}");
        }
        let sysfs = Instance::new(mode).report(|container| container.set("sysfs", "true"));
        let mount = sysfs.mounts.iter().find(|mount| mount.kind == "sysfs").expect("sysfs was asked for");
        assert!(has(&mount.options, "ro"), "{mount:?}");
        assert!(sysfs.writable.sys.is_empty(), "{:?}", sysfs.writable.sys);
    }

    fn only_standard_streams_are_open(mode) {
        let descriptors = &plain(mode).descriptors;
        let numbers: Vec<u32> = descriptors.iter().map(|descriptor| descriptor.number).collect();
        assert_eq!(numbers, [0, 1, 2], "{descriptors:?}");
        assert_eq!(descriptors[0].target, "/dev/null");
        for stream in &descriptors[1..] {
            assert!(stream.target.starts_with("pipe:"), "{stream:?}");
        }
    }

    fn only_shared_memory_is_writable_by_default(mode) {
        let writable = &plain(mode).writable;
        assert!(writable.entries > 100, "the walk saw {} entries", writable.entries);
        assert!(writable.directories.is_empty(), "{:?}", writable.directories);
        assert!(writable.files.is_empty(), "{:?}", writable.files);
        assert!(writable.proc.is_empty(), "{:?}", writable.proc);
        assert_ne!(writable.own_program, "worked");
        for device in &writable.dev {
            let known = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/shm/"];
            let pty = device == "/dev/pts/ptmx" || device == "/dev/ptmx";
            assert!(pty || known.contains(&device.as_str()), "{device}");
        }
        assert!(writable.dev.iter().any(|device| device == "/dev/null"), "{:?}", writable.dev);
    }

    fn only_paths_of_the_file_are_writable(mode) {
        let report = Instance::new(mode).report(|container| {
            container.set("tmpfs", "[\"/tmp:size=1MiB\", \"/run/app:size=1MiB,nr_inodes=64\"]")
        });
        assert_eq!(report.writable.directories, ["/run/app", "/tmp"]);
        for target in ["/tmp", "/run/app"] {
            let mount = report.mounts.iter().find(|mount| mount.target == target).unwrap();
            for option in ["nosuid", "nodev", "noexec"] {
                assert!(has(&mount.options, option), "{mount:?}");
            }
            assert!(mount.super_options.iter().any(|option| option == "size=1024k"), "{mount:?}");
            assert!(mount.super_options.iter().any(|option| option.starts_with("nr_inodes=")), "{mount:?}");
        }
    }

    fn dev_has_six_nodes_only(mode) {
        let dev = &plain(mode).surroundings.dev;
        let expected: BTreeMap<&str, &str> = [
            ("null", "c 1:3"), ("zero", "c 1:5"), ("full", "c 1:7"), ("random", "c 1:8"), ("urandom", "c 1:9"),
            ("tty", "c 5:0"), ("ptmx", "-> pts/ptmx"), ("fd", "-> /proc/self/fd"), ("stdin", "-> /proc/self/fd/0"),
            ("stdout", "-> /proc/self/fd/1"), ("stderr", "-> /proc/self/fd/2"), ("pts", "d"), ("shm", "d"),
        ].into();
        assert!(dev.keys().map(String::as_str).eq(expected.keys().copied()), "{dev:?}");
        for (name, start) in expected {
            assert!(dev[name].starts_with(start), "{name}: {}", dev[name]);
        }
    }

    fn device_of_the_file_has_its_path_and_permissions(mode) {
        if !needs("device_of_the_file_has_its_path_and_permissions", &[Feature::Root]) {
            return;
        }
        // Anybody may open it, so what is refused inside is refused by the container.
        let device = host::OpenDevice::new();
        let device = device.path();
        let with = |permissions: &str| Instance::new(mode).report(|container| {
            let entry = format!("{{ source = {device:?}, target = \"/dev/app\", permissions = {permissions:?} }}");
            container.set("devices", &format!("[{entry}]"))
        });
        let writable = |report: &Report| report.writable.dev.iter().any(|device| device == "/dev/app");
        let read = with("r");
        let both = with("rw");
        assert!(read.surroundings.dev["app"].starts_with("c "), "{:?}", read.surroundings.dev);
        assert!(!writable(&read) && writable(&both), "{:?} {:?}", read.writable.dev, both.writable.dev);
    }

    fn device_of_one_container_is_not_visible_in_another(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let device = r#"[{ source = "/dev/zero", target = "/dev/app", permissions = "r" }]"#;
        let named = |name, uid| Container::new(name, &image, uid).set("devices", device).command(&["report"]);
        let other = Container::new("c", &image, 10_003).command(&["report"]);
        // The same name twice, and each could be a restart of the other.
        casemate.up_to_the_end(&Spec::new([named("a", 10_001), named("b", 10_002), other])).expect(0);
        let dev = |name| casemate_e2e::parse_report(&casemate.stdout_of(name)).surroundings.dev;
        assert!(dev("a")["app"].starts_with("c 1:5") && dev("b")["app"].starts_with("c 1:5"));
        assert!(!dev("c").contains_key("app"), "{:?}", dev("c"));
    }

    fn loopback_is_the_only_interface_and_no_abstract_socket_is_visible(mode) {
        assert_eq!(plain(mode).procfs.interfaces, ["lo"]);
        assert!(plain(mode).procfs.abstract_sockets.is_empty(), "{:?}", plain(mode).procfs.abstract_sockets);
    }

    fn waiting_command_has_no_privileges(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([Container::new("a", &image, 10_001).command(&["misbehave", "sleep"])]));
        up.until_line("sleeping");
        for words in [&["wait", "a"][..], &["logs", "a", "--follow"]] {
            let mut verb = casemate.command(words).stdout(std::process::Stdio::null()).spawn().unwrap();
            let pid = i32::try_from(verb.id()).unwrap();
            poll::until("a verb without privilege", || {
                let verb = host::Process::of(pid)?;
                let bare = !verb.uids.contains(&0) && verb.field("CapPrm") == "0000000000000000";
                (bare && verb.field("NoNewPrivs") == "1").then_some(())
            });
            verb.kill().unwrap();
            verb.wait().unwrap();
        }
        up.signal(Signal::INT);
        up.finish();
    }

    fn payload_is_pid_1_and_sees_no_other_process(mode) {
        assert_eq!(plain(mode).surroundings.pid, 1);
        assert_eq!(plain(mode).surroundings.parent, 0);
        assert_eq!(plain(mode).procfs.processes, [1]);
    }

    fn container_has_namespaces_of_its_own(mode) {
        for (kind, inside) in &plain(mode).identity.namespaces {
            let outside = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            // A time namespace is optional in the design.
            let shared = kind.starts_with("time");
            assert!(shared || outside.to_str().unwrap() != inside, "{kind}: {inside}");
        }
        assert!(plain(mode).identity.namespaces.len() >= 7, "{:?}", plain(mode).identity.namespaces);
    }

    fn container_sees_its_cgroup_as_the_root(mode) {
        let own = &plain(mode).identity.cgroup;
        assert!(!own.is_empty());
        let ours: Vec<String> = fs::read_to_string("/proc/self/cgroup").unwrap().lines().map(str::to_owned).collect();
        for line in own {
            let path = line.splitn(3, ':').nth(2).unwrap();
            // A hierarchy without limits of ours (freezer, devices) shows the place that the caller has in it.
            let not_used = ours.contains(line);
            assert!(path == "/" || not_used, "{line}");
        }
    }

    fn sensitive_files_of_proc_are_masked(mode) {
        for (path, answer) in &plain(mode).procfs.sensitive {
            // `modules`, `interrupts` and the like: gone with subset=pid, masked otherwise.
            assert!(["ENOENT", "EACCES", "EPERM", "empty"].contains(&answer.as_str()), "{path}: {answer}");
        }
    }

    fn core_dumps_are_off_and_hard_limits_cannot_be_raised(mode) {
        let report = plain(mode);
        assert_eq!(report.limits["core"], ("0".to_owned(), "0".to_owned()));
        assert_eq!(report.surroundings.attempts["raise the open file limit"], "EPERM");
        let limited = Instance::new(mode).report(|container| container.set("ulimits", "{ nofile = 77 }"));
        assert_eq!(limited.limits["nofile"], ("77".to_owned(), "77".to_owned()));
    }

    fn environment_has_variables_of_image_and_file_only(mode) {
        let report = Instance::new(mode).report(|container| container.set("environment", "{ COLOUR = \"blue\" }"));
        assert!(report.surroundings.environment.contains(&"COLOUR=blue".to_owned()));
        for variable in &report.surroundings.environment {
            let name = variable.split('=').next().unwrap();
            assert!(["COLOUR", "PATH", "HOME", "HOSTNAME"].contains(&name), "{variable}");
        }
    }

    fn hostname_and_hosts_are_those_of_the_container(mode) {
        let around = &plain(mode).surroundings;
        assert_eq!(around.hostname, "a");
        assert!(around.etc["hosts"].contains("127.0.0.1"), "{:?}", around.etc);
        assert!(around.etc["hosts"].lines().any(|line| line.split_whitespace().skip(1).any(|name| name == "a")), "{:?}", around.etc);
        let named = Instance::new(mode).report(|container| container.set("hostname", "\"pump\""));
        assert_eq!(named.surroundings.hostname, "pump");
    }

    fn landlock_denies_what_permissions_allow(mode) {
        let with = |landlock: &str| Instance::new(mode).report(|container| {
            let container = container.set("tmpfs", "[\"/tmp:size=1MiB\", \"/run/app:size=1MiB\"]");
            container.set("security", &format!("{{ landlock = {landlock} }}"))
        });
        let open = with("true");
        assert_eq!(open.writable.directories, ["/run/app", "/tmp"]);
        assert_eq!(open.surroundings.attempts["bind TCP port 8080"], "worked");
        assert_eq!(open.surroundings.attempts["connect to TCP port 8080"], "ECONNREFUSED");
        // The same mounts, owners and modes: what is refused now is refused by Landlock.
        let shut = with("{ write = [\"/run/app\"], bind_tcp = [8081], connect_tcp = [8081] }");
        assert_eq!(shut.writable.directories, ["/run/app"]);
        assert_eq!(shut.surroundings.attempts["bind TCP port 8080"], "EACCES");
        assert_eq!(shut.surroundings.attempts["connect to TCP port 8080"], "EACCES");
        assert_ne!(open.surroundings.attempts["write own oom_score_adj lower"], "worked");
        assert_ne!(open.surroundings.attempts["remount the root"], "worked");
    }

    fn writable_root_is_lost_or_kept_as_the_file_states(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let report = casemate.report_of(
            Container::new("a", &image, 10_001).set("read_only", "false")
                .set("writable_root", "{ type = \"ephemeral\", size = \"1MiB\", nr_inodes = 64 }"), "");
        let root = report.mounts.iter().rfind(|mount| mount.target == "/").unwrap();
        assert!(has(&root.options, "rw"), "{root:?}");
        // The image's directories belong to root, so even a writable root gives nothing away.
        assert!(report.writable.files.is_empty(), "{:?}", report.writable.files);
    }

    fn init_is_pid_1_and_reaps_orphans(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let spec = Spec::new([Container::new("a", &image, 10_001).set("init", "true").command(&["misbehave", "zombies", "5"])]);
        let mut up = casemate.up(&spec);
        poll::until("no zombie", || {
            up.until_line("zombies: ");
            up.stdout().lines().last().is_some_and(|line| line.ends_with("zombies: 0")).then_some(())
        });
        up.signal(Signal::INT);
        up.finish();
        let report = casemate.report_of(Container::new("b", &image, 10_002).set("init", "true"), "");
        assert_eq!(report.surroundings.parent, 1);
        assert_eq!(report.procfs.processes[0], 1);
    }

    fn no_process_of_an_instance_is_root(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([Container::new("a", &image, 10_001).command(&["misbehave", "sleep"])]));
        up.until_line("sleeping");
        let all = casemate.processes();
        assert!(all.len() >= 4, "manager, two of the helper and the payload: {all:?}");
        for process in &all {
            assert!(!process.uids.contains(&0), "{process:?}");
            // No process in the host's namespaces holds a capability; in A only the helper's inner process does.
            let inner = process.arguments[0].ends_with("casemate-helper");
            assert!(inner || process.field("CapEff") == "0000000000000000", "{process:?}");
        }
        let payload = all.iter().find(|process| process.arguments.iter().any(|word| word == "sleep")).expect("the payload");
        assert_eq!(payload.field("CapPrm"), "0000000000000000");
        assert_eq!(payload.field("NoNewPrivs"), "1");
        if mode == Mode::Root {
            let managers = casemate.managers();
            assert!(managers.iter().all(|manager| !payload.uids.contains(&manager.uids[0])), "{all:?}");
        }
        up.signal(Signal::INT);
        up.finish();
    }

    fn containers_share_no_namespace_and_no_uid(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let sleeper = |name: &str, uid| Container::new(name, &image, uid).command(&["misbehave", "sleep"]);
        let mut up = casemate.up(&Spec::new([sleeper("a", 10_001), sleeper("b", 10_002)]));
        let both = poll::until("two payloads", || {
            let all = casemate.processes();
            let payloads: Vec<_> = all.into_iter().filter(|p| p.arguments.iter().any(|word| word == "sleep")).collect();
            (payloads.len() == 2).then_some(payloads)
        });
        up.until_line("sleeping");
        if needs("containers_share_no_namespace_and_no_uid", &[Feature::Root]) {
            for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
                let [a, b] = [0, 1].map(|i: usize| fs::read_link(format!("/proc/{}/ns/{kind}", both[i].pid)).unwrap());
                assert_ne!(a, b, "{kind}");
            }
        }
        if mode == Mode::Root {
            assert_ne!(both[0].uids, both[1].uids);
        }
        assert!(both.iter().all(|payload| host::Process::of(payload.pid).is_some()));
        up.signal(Signal::INT);
        up.finish();
    }
}

#[test]
fn seccomp_kills_calls_through_the_32_bit_entry() {
    if !needs("seccomp_kills_calls_through_the_32_bit_entry", &[Feature::Ia32]) {
        return;
    }
    // Here, outside, it works; so a SIGSYS inside is the filter's doing and not the kernel's.
    for (call, answer) in plain(Mode::User).calls.iter().filter(|(call, _)| call.starts_with("int 0x80")) {
        assert_eq!(answer, "killed by SIGSYS", "{call}");
    }
}
