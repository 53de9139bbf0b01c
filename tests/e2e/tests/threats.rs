//! The rows of threats that are asked from inside a container, or of the host around one: `threat_NN_...` names the row.
//!
//! Other rows have their tests beside the code that they are about; tests/documents.rs checks that every row has one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::{Container, Feature, Instance, Mode, Report, Spec, both_modes, host, needs, oci, place, poll};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

fn plain(mode: Mode) -> &'static Report {
    static ROOT: OnceLock<Report> = OnceLock::new();
    static USER: OnceLock<Report> = OnceLock::new();
    let cell = if mode == Mode::Root { &ROOT } else { &USER };
    cell.get_or_init(|| Instance::new(mode).report(|container| container))
}

/// Every call of the report whose name starts so is answered so.
#[track_caller]
fn answered(mode: Mode, starts: &[&str], answer: &str) {
    for start in starts {
        let calls: Vec<_> = plain(mode).calls.iter().filter(|(call, _)| call.starts_with(start)).collect();
        assert!(!calls.is_empty(), "{start} was not tried");
        for (call, given) in calls {
            assert_eq!(given, answer, "{call}");
        }
    }
}

/// A file system with something to lose, where no container should come.
fn canary(casemate: &Instance) -> std::path::PathBuf {
    let directory = casemate.scratch("canary");
    fs::write(directory.join("file"), "alive").unwrap();
    fs::set_permissions(directory.join("file"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    directory
}

fn assert_alive(canary: &Path) {
    assert_eq!(fs::read_to_string(canary.join("file")).unwrap(), "alive");
    let names: Vec<_> = fs::read_dir(canary).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["file"]);
}

both_modes! {
    fn threat_01_helper_binary_is_not_reachable(mode) {
        let casemate = Instance::new(mode);
        let rootfs = casemate.rootfs_with_probe("rootfs");
        fs::write(rootfs.join("script"), "#!/proc/self/exe\n").unwrap();
        fs::set_permissions(rootfs.join("script"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("/proc/self/exe", rootfs.join("link")).unwrap();
        let image = casemate.import_directory("hostile", &rootfs, &json!({}));
        let helper = place::program("casemate-helper");
        let before = oci::sha256(&fs::read(&helper).unwrap());
        for entrypoint in ["/proc/self/exe", "/script", "/link"] {
            let spec = Spec::new([Container::new("a", &image, 10_001).entrypoint(&[entrypoint, "--version"])]);
            let output = casemate.up_to_the_end(&spec);
            assert_eq!(output.code, 1, "{entrypoint}: {output:?}");
            assert!(!output.stdout.contains("casemate-helper"), "{entrypoint}: it ran: {output:?}");
        }
        assert_eq!(before, oci::sha256(&fs::read(&helper).unwrap()));
        assert_ne!(plain(mode).writable.own_program, "worked");
    }

    fn threat_01_init_is_not_accessible_to_its_payload(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let container = |path| Container::new("a", &image, 10_001).set("init", "true").command(&["misbehave", "find", path]);
        for (path, answer) in [("/proc/1/exe", "EACCES"), ("/proc/1/fd/0", "EACCES"), ("/proc/self/exe", "worked")] {
            let output = casemate.up_to_the_end(&Spec::new([container(path)])).expect(0);
            assert!(output.stdout.contains(&format!("find: {answer}")), "{path}: {output:?}");
        }
    }

    fn threat_02_container_inherits_no_descriptor_of_the_caller(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let file = casemate.write("leak.toml", &casemate.text_of(&Spec::new([
            Container::new("a", &image, 10_001).command(&["report"]),
        ])));
        let inner = casemate.in_cgroup(&["up", &file]);
        // The same command line, below a shell that leaves twenty descriptors of the host open.
        let mut outer = Command::new("/bin/bash");
        outer.args(["-c", "for n in $(seq 3 22); do eval \"exec $n</etc/hostname\"; done; exec \"$@\"", "bash"]);
        let (uid, gid) = mode.other_user();
        outer.env_clear().current_dir("/");
        let program = inner.get_program();
        if let (Some(gid), true) = (gid, program == place::program("casemate")) {
            outer.args(["setpriv", "--clear-groups", "--reuid", &uid.to_string(), "--regid", &gid.to_string()]);
        }
        outer.arg(program).args(inner.get_args());
        outer.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let output = casemate_e2e::finish(outer, poll::PATIENCE).expect(0);
        let report = casemate_e2e::parse_report(&output.stdout);
        let numbers: Vec<u32> = report.descriptors.iter().map(|descriptor| descriptor.number).collect();
        assert_eq!(numbers, [0, 1, 2], "{:?}", report.descriptors);
    }

    fn threat_02_working_directory_outside_the_root_is_refused(mode) {
        let casemate = Instance::new(mode);
        let rootfs = casemate.rootfs_with_probe("rootfs");
        let layers = [oci::layer_of(&rootfs)];
        let containers: Vec<Container> = (3..=30).map(|number| {
            let config = json!({ "Entrypoint": ["/probe"], "WorkingDir": format!("/proc/self/fd/{number}") });
            let image = casemate.import_layers(&format!("wd-{number}"), &layers, &config);
            Container::new(&format!("c{number}"), &image, 10_000 + number).command(&["misbehave", "where"])
        }).collect();
        let output = casemate.up_to_the_end(&Spec::new(containers));
        // Most are no directory of the container, and do not start; a container that starts is inside its root.
        assert_eq!(output.code, 1, "{output:?}");
        for line in output.stdout.lines().filter(|line| line.contains("where: ")) {
            assert!(line.contains("where: /"), "{line}: {output:?}");
        }
    }

    fn threat_03_links_in_the_image_do_not_redirect_mount_targets(mode) {
        let casemate = Instance::new(mode);
        let canary = canary(&casemate);
        let names = ["proc", "sys", "dev", "tmp", "run", "etc"];
        for shape in ["link to the host", "link inside", "file", "missing"] {
            let rootfs = casemate.rootfs_with_probe(&format!("rootfs-{}", shape.replace(' ', "-")));
            fs::create_dir(rootfs.join("inside")).unwrap();
            for name in names {
                match shape {
                    "link to the host" => symlink(&canary, rootfs.join(name)).unwrap(),
                    "link inside" => symlink("inside", rootfs.join(name)).unwrap(),
                    "file" => fs::write(rootfs.join(name), "a file").unwrap(),
                    _ => {}
                }
            }
            let image = casemate.import_directory("hostile", &rootfs, &json!({ "Entrypoint": ["/probe"] }));
            let container = Container::new("a", &image, 10_001).command(&["report"]).set("tmpfs", "[\"/tmp:size=1MiB\"]");
            let output = casemate.up_to_the_end(&Spec::new([container]));
            assert_alive(&canary);
            match (shape, output.code) {
                ("missing", 0) => {
                    let report = casemate_e2e::parse_report(&output.stdout);
                    for (target, kind) in [("/proc", "proc"), ("/dev", "tmpfs"), ("/tmp", "tmpfs")] {
                        let there = report.mounts.iter().any(|mount| mount.target == target && mount.kind == kind);
                        assert!(there, "{target}: {:?}", report.mounts);
                    }
                }
                ("missing", _) => panic!("an image without any directory of its own: {output:?}"),
                (_, 1) => assert!(!output.stderr.is_empty(), "no word about {shape}"),
                (_, code) => panic!("{shape}: code {code}: {output:?}"),
            }
        }
    }

    fn threat_03_generated_files_replace_links_of_the_image(mode) {
        let casemate = Instance::new(mode);
        let canary = canary(&casemate);
        let rootfs = casemate.rootfs_with_probe("rootfs");
        fs::create_dir(rootfs.join("etc")).unwrap();
        for name in ["hosts", "hostname", "resolv.conf"] {
            symlink(canary.join("file"), rootfs.join("etc").join(name)).unwrap();
        }
        let image = casemate.import_directory("hostile", &rootfs, &json!({ "Entrypoint": ["/probe"] }));
        let report = casemate.report_of(Container::new("a", &image, 10_001), "");
        assert_eq!(report.surroundings.etc["hostname"], "a\n");
        assert!(report.surroundings.etc["hosts"].contains("127.0.0.1"), "{:?}", report.surroundings.etc);
        assert_alive(&canary);
    }

    fn threat_03_dev_null_of_the_image_is_not_used(mode) {
        let casemate = Instance::new(mode);
        let rootfs = casemate.rootfs_with_probe("rootfs");
        fs::create_dir(rootfs.join("dev")).unwrap();
        for name in ["null", "zero", "tty", "console", "ptmx"] {
            symlink("/proc/sys/kernel/core_pattern", rootfs.join("dev").join(name)).unwrap();
        }
        let before = fs::read("/proc/sys/kernel/core_pattern").unwrap();
        let image = casemate.import_directory("hostile", &rootfs, &json!({ "Entrypoint": ["/probe"] }));
        let report = casemate.report_of(Container::new("a", &image, 10_001), "");
        assert!(report.surroundings.dev["null"].starts_with("c 1:3"), "{:?}", report.surroundings.dev);
        assert!(!report.surroundings.dev.contains_key("console"), "{:?}", report.surroundings.dev);
        assert_eq!(before, fs::read("/proc/sys/kernel/core_pattern").unwrap());
    }

    fn threat_04_faked_procfs_gets_no_write(mode) {
        let casemate = Instance::new(mode);
        let rootfs = casemate.rootfs_with_probe("rootfs");
        for directory in ["proc/self/attr", "proc/sys/user", "proc/1"] {
            fs::create_dir_all(rootfs.join(directory)).unwrap();
        }
        for file in ["uid_map", "gid_map", "setgroups", "attr/exec"] {
            fs::write(rootfs.join("proc/self").join(file), "").unwrap();
        }
        fs::write(rootfs.join("proc/sys/user/max_user_namespaces"), "9").unwrap();
        let image = casemate.import_directory("hostile", &rootfs, &json!({ "Entrypoint": ["/probe"] }));
        let report = casemate.report_of(Container::new("a", &image, 10_001), "");
        let proc = report.mounts.iter().rfind(|mount| mount.target == "/proc").unwrap();
        assert_eq!(proc.kind, "proc");
        assert_eq!(report.identity.uid_map.len(), 1);
        assert_eq!(report.identity.uid_map[0][0], 10_001);
        assert_eq!(report.identity.setgroups, "deny");
        assert_eq!(report.calls["unshare(CLONE_NEWUSER)"], "EPERM");
    }

    fn threat_04_only_listed_sysctls_are_set(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let with = |sysctl: &str| Spec::new([
            Container::new("a", &image, 10_001).command(&["true"]).set("sysctls", &format!("{{ {sysctl} }}")),
        ]);
        casemate.up_to_the_end(&with("\"net.ipv4.ip_unprivileged_port_start\" = \"80\"")).expect(0);
        for sysctl in ["kernel.core_pattern", "kernel.modprobe", "vm.overcommit_memory", "net.ipv4/../../kernel/core_pattern", "user.max_user_namespaces"] {
            let output = casemate.up_to_the_end(&with(&format!("\"{sysctl}\" = \"1\"")));
            assert_eq!(output.code, 3, "{sysctl}: {output:?}");
        }
    }

    fn threat_05_swapped_bind_source_is_refused(mode) {
        let casemate = Instance::new(mode);
        let canary = canary(&casemate);
        let shared = casemate.scratch("shared");
        fs::create_dir(shared.join("a")).unwrap();
        fs::set_permissions(shared.join("a"), fs::Permissions::from_mode(0o777)).unwrap();
        symlink(&canary, shared.join("b")).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let image = casemate.probe();
        let target = shared.join("a");
        let bind = format!(
            "[{{ type = \"bind\", source = {:?}, target = \"/data\", read_only = false }}]", target.to_str().unwrap(),
        );
        std::thread::scope(|scope| {
            scope.spawn(|| {
                use rustix::fs::{CWD, RenameFlags, renameat_with};
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    renameat_with(CWD, shared.join("a"), CWD, shared.join("b"), RenameFlags::EXCHANGE).unwrap();
                }
            });
            let mut started = 0;
            let mut refused = 0;
            for _ in 0..6 {
                // It writes to its mount target: if that were the canary, a file more would be in it.
                let containers = (0..20).map(|number| {
                    Container::new(&format!("c{number}"), &image, 10_001 + number)
                        .command(&["misbehave", "mark", "/data"])
                        .set("volumes", &bind)
                });
                let output = casemate.up_to_the_end(&Spec::new(containers));
                started += output.stdout.matches("mark: ").count();
                refused += usize::from(output.code == 1);
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            // Both have to have been seen, or nothing was raced.
            assert!(started > 0 && refused > 0, "{started} started, {refused} refused");
        });
        assert_alive(&canary);
    }

    fn threat_05_bind_source_that_is_a_link_is_refused(mode) {
        let casemate = Instance::new(mode);
        let canary = canary(&casemate);
        let link = casemate.scratch("links").join("link");
        symlink(&canary, &link).unwrap();
        let image = casemate.probe();
        let bind = format!("[{{ type = \"bind\", source = {:?}, target = \"/data\" }}]", link.to_str().unwrap());
        let output = casemate.up_to_the_end(&Spec::new([Container::new("a", &image, 10_001).command(&["true"]).set("volumes", &bind)]));
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.stderr.contains("symbolic link"), "{output:?}");
    }

    fn threat_05_working_directory_through_a_link_stays_inside(mode) {
        let casemate = Instance::new(mode);
        let canary = canary(&casemate);
        let rootfs = casemate.rootfs_with_probe("rootfs");
        symlink(&canary, rootfs.join("work")).unwrap();
        let config = json!({ "Entrypoint": ["/probe"], "WorkingDir": "/work/deep" });
        let image = casemate.import_directory("hostile", &rootfs, &config);
        let output = casemate.up_to_the_end(&Spec::new([Container::new("a", &image, 10_001).command(&["report"])]));
        assert_alive(&canary);
        if output.code == 0 {
            let report = casemate_e2e::parse_report(&output.stdout);
            assert!(report.surroundings.directory.starts_with('/'), "{}", report.surroundings.directory);
        }
    }

    fn threat_08_overlay_metadata_of_a_layer_is_ignored(mode) {
        if !needs("threat_08_overlay_metadata_of_a_layer_is_ignored", &[Feature::Program("/usr/bin/python3")]) {
            return;
        }
        let casemate = Instance::new(mode);
        let rootfs = casemate.rootfs_with_probe("rootfs");
        fs::create_dir(rootfs.join("kept")).unwrap();
        fs::write(rootfs.join("kept/file"), "").unwrap();
        // A second layer that claims, in overlayfs's own words, that the directory below it is opaque and redirected.
        let script = "import sys, tarfile\n\
            t = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.PAX_FORMAT)\n\
            d = tarfile.TarInfo('kept'); d.type = tarfile.DIRTYPE; d.mode = 0o755\n\
            for s in ('user', 'trusted'):\n\
            \x20   d.pax_headers[f'SCHILY.xattr.{s}.overlay.opaque'] = 'y'\n\
            \x20   d.pax_headers[f'SCHILY.xattr.{s}.overlay.redirect'] = '/etc'\n\
            t.addfile(d); t.close()\n";
        let output = Command::new("/usr/bin/python3").args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let image = casemate.import_layers(
            "hostile", &[oci::layer_of(&rootfs), output.stdout],
            &json!({ "Entrypoint": ["/probe"], "WorkingDir": "/kept/file" }),
        );
        // The working directory is the file of the lower layer: ENOTDIR says that it is still there.
        let output = casemate.up_to_the_end(&Spec::new([Container::new("a", &image, 10_001).command(&["true"])]));
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.stderr.to_lowercase().contains("not a directory"), "{output:?}");
    }

    fn threat_09_set_id_and_file_capabilities_give_nothing(mode) {
        let name = "threat_09_set_id_and_file_capabilities_give_nothing";
        if !needs(name, &[Feature::Root, Feature::Program("/usr/sbin/setcap")]) {
            return;
        }
        let casemate = Instance::new(mode);
        let rootfs = casemate.rootfs_with_probe("rootfs");
        fs::copy(rootfs.join("probe"), rootfs.join("capable")).unwrap();
        let status = Command::new("/usr/sbin/setcap").arg("cap_sys_admin+eip").arg(rootfs.join("capable")).status().unwrap();
        assert!(status.success());
        fs::set_permissions(rootfs.join("probe"), fs::Permissions::from_mode(0o6755)).unwrap();
        let layers = [oci::layer_of(&rootfs)];
        for program in ["/probe", "/capable"] {
            let image = casemate.import_layers("hostile", &layers, &json!({ "Entrypoint": [program] }));
            let report = casemate.report_of(Container::new("a", &image, 10_001), "");
            assert_eq!(report.identity.uid, [10_001; 3]);
            assert_eq!(report.identity.gid, [10_001; 3]);
            assert_eq!(report.identity.capabilities.permitted, "0000000000000000");
            assert_eq!(report.identity.capabilities.inheritable, "0000000000000000");
        }
    }

    fn threat_11_groups_of_the_image_are_not_read(mode) {
        let casemate = Instance::new(mode);
        let rootfs = casemate.rootfs_with_probe("rootfs");
        fs::create_dir(rootfs.join("etc")).unwrap();
        fs::write(rootfs.join("etc/passwd"), "app:x:10001:0::/:/bin/sh\n").unwrap();
        fs::write(rootfs.join("etc/group"), "root:x:0:app\ndisk:x:6:app\nshadow:x:42:app\n").unwrap();
        let image = casemate.import_directory("hostile", &rootfs, &json!({ "Entrypoint": ["/probe"], "User": "app" }));
        let report = casemate.report_of(Container::new("a", &image, 10_001), "");
        assert!(report.identity.groups.is_empty(), "{:?}", report.identity.groups);
        assert_eq!(report.identity.gid, [10_001; 3]);
    }

    fn threat_12_passwd_of_the_image_is_never_opened(mode) {
        let casemate = Instance::new(mode);
        let canary = canary(&casemate);
        for shape in ["fifo", "device", "huge", "link to the host"] {
            let rootfs = casemate.rootfs_with_probe(&format!("rootfs-{}", shape.replace(' ', "-")));
            fs::create_dir(rootfs.join("etc")).unwrap();
            for name in ["passwd", "group"] {
                let path = rootfs.join("etc").join(name);
                match shape {
                    "fifo" => rustix::fs::mknodat(
                        rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o666), 0,
                    ).unwrap(),
                    "device" => symlink("/dev/zero", &path).unwrap(),
                    "huge" => fs::File::create(&path).unwrap().set_len(32 << 20).unwrap(),
                    _ => symlink(canary.join("file"), &path).unwrap(),
                }
            }
            let image = casemate.import_directory("hostile", &rootfs, &json!({ "Entrypoint": ["/probe"], "User": "app" }));
            // A reader of it would hang, or read for ever; the end would not come in time.
            casemate.up_to_the_end(&Spec::new([Container::new("a", &image, 10_001).command(&["true"])])).expect(0);
            assert_alive(&canary);
        }
    }

    fn threat_18_only_casemate_programs_and_the_payload_are_executed(mode) {
        let name = "threat_18_only_casemate_programs_and_the_payload_are_executed";
        if !needs(name, &[Feature::Program("/usr/bin/strace")]) {
            return;
        }
        let casemate = Instance::without_cgroup(mode);
        let image = casemate.probe();
        let spec = Spec::new([Container::new("a", &image, 10_001).command(&["true"])]);
        let trace = casemate.trace_up(&spec, "execve,execveat");
        let mut programs: BTreeSet<&str> = BTreeSet::new();
        let mut hidden = 0;
        for line in trace.lines().filter(|line| line.contains("exec")) {
            match line.split('"').nth(1) {
                Some(path) => drop(programs.insert(path.rsplit('/').next().unwrap())),
                // The container's process is not dumpable, so only root's strace can read what it executes.
                None => hidden += 1,
            }
        }
        let ours: BTreeSet<&str> = ["casemate", "casemate-helper"].into();
        assert!(programs.is_superset(&ours), "{trace}");
        programs.remove("casemate");
        programs.remove("casemate-helper");
        assert_eq!((hidden, programs), if mode == Mode::Root { (0, ["casemate-probe"].into()) } else { (1, [].into()) }, "{trace}");
    }

    fn threat_20_sockets_of_the_host_are_not_reachable(mode) {
        let casemate = Instance::new(mode);
        let name = format!("e2e-canary-{}-{}", std::process::id(), mode == Mode::Root);
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        // From outside it can be reached.
        UnixStream::connect_addr(&listener.local_addr().unwrap()).unwrap();
        let image = casemate.probe();
        let spec = Spec::new([Container::new("a", &image, 10_001).command(&["misbehave", "connect", &name])]);
        let output = casemate.up_to_the_end(&spec).expect(0);
        assert!(output.stdout.contains(&format!("connect @{name}: E")), "{output:?}");
        assert!(plain(mode).procfs.abstract_sockets.is_empty());
    }

    fn threat_20_control_socket_accepts_one_user(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([Container::new("a", &image, 10_001).command(&["misbehave", "sleep"])]));
        up.until_line("sleeping");
        for socket in ["control.sock", "helper.sock"] {
            let path = casemate.run_directory().join(socket);
            let mut other_user = Command::new("/bin/sh");
            other_user.args(["-c", "test -e \"$1\" || test -r \"$1\" || test -w \"$1\"", "sh"]).arg(&path);
            if needs("threat_20_control_socket_accepts_one_user", &[Feature::Root]) {
                other_user.uid(12_345).gid(12_345);
                assert!(!other_user.status().unwrap().success(), "{}: another user can access it", path.display());
            }
        }
        // No process of casemate has a socket in the abstract namespace.
        let unix = fs::read_to_string("/proc/net/unix").unwrap();
        assert!(!unix.contains("@casemate") && !unix.contains("@/"), "{unix}");
        up.signal(Signal::INT);
        up.finish();
    }

    fn threat_21_terminal_input_cannot_be_injected(mode) {
        answered(mode, &["ioctl(TIOCSTI", "ioctl(TIOCLINUX"], "EPERM");
        assert!(plain(mode).calls.contains_key("ioctl(TIOCSTI, high bits set)"));
        for descriptor in &plain(mode).descriptors {
            assert!(!descriptor.target.contains("/dev/pts") && !descriptor.target.contains("/dev/tty"), "{descriptor:?}");
        }
    }

    fn threat_22_kernel_keys_are_not_accessible(mode) {
        answered(mode, &["keyctl", "add_key", "request_key"], "EPERM");
        for file in ["/proc/keys", "/proc/key-users"] {
            assert!(!plain(mode).procfs.sensitive[file].ends_with("bytes"), "{file}");
        }
    }

    fn threat_22_session_keyring_is_new_per_container(mode) {
        // As an ordinary user every container has that user's id, so the list does not show which container it belongs to.
        let name = "threat_22_session_keyring_is_new_per_container";
        if mode == Mode::User || !needs(name, &[Feature::Root]) {
            return;
        }
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([Container::new("a", &image, 23_456).command(&["misbehave", "sleep"])]));
        up.until_line("sleeping");
        let payload = casemate.processes().into_iter().find(|process| process.arguments.iter().any(|word| word == "sleep"));
        let uid = payload.expect("the payload").uids[0];
        let keys = Command::new("/bin/cat").arg("/proc/keys").uid(uid).gid(uid).output().unwrap();
        let keys = String::from_utf8(keys.stdout).unwrap();
        let session = keys.lines().find(|line| line.contains("_ses: empty") && line.contains(&format!(" {uid} ")));
        assert!(session.is_some(), "no session keyring of {uid} in\n{keys}");
        up.signal(Signal::INT);
        up.finish();
    }

    fn threat_23_namespaces_cannot_be_created_or_entered(mode) {
        answered(mode, &["unshare(", "clone(", "setns("], "EPERM");
        answered(mode, &["clone3"], "ENOSYS");
        let count = plain(mode).calls.keys().filter(|call| call.starts_with("clone(")).count();
        assert_eq!(count, 14, "seven namespaces, with and without high bits");
        assert_eq!(plain(mode).procfs.max_user_namespaces.as_deref(), Some("0"));
    }

    fn threat_24_socket_families_outside_the_list_are_denied(mode) {
        for (socket, answer) in &plain(mode).sockets {
            let family = socket.split('/').next().unwrap();
            if !["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"].contains(&family) {
                assert_eq!(answer, "EPERM", "{socket}");
            }
        }
        assert_eq!(plain(mode).sockets["AF_NETLINK/RAW/NETLINK_XFRM"], "EPERM");
        assert_eq!(plain(mode).sockets["AF_ALG/SEQPACKET, high bits set"], "EPERM");
        if cfg!(target_arch = "x86_64") {
            answered(mode, &["int 0x80 socketcall"], "killed by SIGSYS");
        }
    }

    fn threat_25_dangerous_kernel_interfaces_are_denied(mode) {
        answered(mode, &[
            "io_uring_", "bpf", "perf_event_open", "userfaultfd", "keyctl", "ptrace", "process_vm_", "kexec_", "init_module",
            "finit_module", "personality", "open_by_handle_at", "mount", "fsopen", "pivot_root", "memfd_secret",
        ], "EPERM");
        answered(mode, &["unknown call 1000"], "ENOSYS");
        if cfg!(target_arch = "x86_64") {
            answered(mode, &["int 0x80", "x32"], "killed by SIGSYS");
        }
    }

    fn threat_25_custom_profile_cannot_allow_what_the_baseline_denies(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        // The built-in profile, and on top of it everything that a careless hand could allow.
        let service = fs::read_to_string(place::repository().join("policies/seccomp/service.toml")).unwrap();
        let calls = [
            "unshare", "setns", "mount", "umount2", "pivot_root", "fsopen", "open_tree", "move_mount", "mount_setattr", "keyctl",
            "add_key", "request_key", "bpf", "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register",
            "userfaultfd", "ptrace", "process_vm_readv", "process_vm_writev", "kexec_load", "init_module", "finit_module",
            "open_by_handle_at", "memfd_secret", "clone", "clone3", "socket", "socketpair", "ioctl", "personality",
        ];
        let profile = format!("{service}\n[[allow]]\ncomment = \"careless\"\ncalls = {calls:?}\n");
        casemate.write("wide.toml", &profile);
        let security = format!(
            "{{ seccomp = {{ profile = \"wide.toml\", sha256 = \"{}\" }} }}", oci::sha256(profile.as_bytes()),
        );
        let report = casemate.report_of(Container::new("a", &image, 10_001).set("security", &security), "");
        let plain = plain(mode);
        for call in calls {
            for (name, answer) in report.calls.iter().filter(|(name, _)| name.split('(').next() == Some(call)) {
                assert_eq!(answer, &plain.calls[name], "{name}");
            }
        }
        for family in ["AF_ALG/SEQPACKET", "AF_VSOCK/STREAM", "AF_PACKET/RAW", "AF_NETLINK/RAW/NETLINK_XFRM"] {
            assert_eq!(report.sockets[family], "EPERM", "{family}");
        }
        assert_eq!(report.identity.seccomp_filters, plain.identity.seccomp_filters);
        // Its digest is part of the file: a profile that was changed is refused.
        casemate.write("wide.toml", &format!("{profile}# changed\n"));
        let changed = Spec::new([Container::new("a", &image, 10_001).set("security", &security).command(&["true"])]);
        let output = casemate.up_to_the_end(&changed);
        assert_eq!(output.code, 4, "{output:?}");
    }

    fn threat_26_cgroup_files_are_not_visible(mode) {
        let report = Instance::new(mode).report(|container| container.set("sysfs", "true"));
        for mount in report.mounts.iter().chain(&plain(mode).mounts) {
            assert!(!mount.kind.starts_with("cgroup"), "{mount:?}");
        }
        assert!(report.writable.sys.is_empty(), "{:?}", report.writable.sys);
        assert!(!report.writable.sys.iter().any(|path| path.ends_with("release_agent")));
    }

    fn threat_27_proc_and_sys_are_masked_and_read_only(mode) {
        let with_sys = Instance::new(mode).report(|container| container.set("sysfs", "true"));
        for report in [plain(mode), &with_sys] {
            for (path, answer) in &report.procfs.sensitive {
                assert!(["ENOENT", "EACCES", "EPERM", "empty"].contains(&answer.as_str()), "{path}: {answer}");
            }
            assert!(report.writable.proc.is_empty(), "{:?}", report.writable.proc);
            assert!(report.writable.sys.is_empty(), "{:?}", report.writable.sys);
        }
    }

    fn threat_28_disk_inodes_and_descriptors_are_limited(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let container = |name, uid, words: &[&str]| Container::new(name, &image, uid)
            .set("tmpfs", "[\"/tmp:size=1MiB,nr_inodes=32\"]").set("ulimits", "{ nofile = 50 }").command(words);
        let output = casemate.up_to_the_end(&Spec::new([
            container("disk", 10_001, &["misbehave", "fill-disk", "/tmp"]),
            container("inodes", 10_002, &["misbehave", "fill-inodes", "/tmp"]),
            container("fds", 10_003, &["misbehave", "fds"]),
        ])).expect(0);
        assert!(output.stdout.contains("disk: 1048576 bytes, then ENOSPC"), "{output:?}");
        let inodes = output.stdout.lines().find_map(|line| line.split_once("inodes: ")).unwrap().1;
        let count: u32 = inodes.split(',').next().unwrap().parse().unwrap();
        assert!((1..=32).contains(&count) && inodes.ends_with("ENOSPC"), "{inodes}");
        // Three are the standard streams.
        assert!(output.stdout.contains("descriptors: 47, then EMFILE"), "{output:?}");
    }

    fn threat_29_line_cannot_forge_another_or_control_a_terminal(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let forged = "x\n2026-01-01T00:00:00.000000000Z stdout F forged\u{1b}[2J\u{9b}31m";
        let spec = Spec::new([Container::new("a", &image, 10_001).command(&["misbehave", "connect", forged])]);
        let mut up = casemate.up(&spec);
        let output = up.wait(poll::PATIENCE).expect(0);
        assert!(output.stdout.contains("forged"), "{output:?}");
        for line in output.stdout.lines() {
            assert!(line.starts_with('a'), "a line without its container's name: {line:?}");
        }
        assert!(!output.stdout.contains('\u{1b}') && !output.stdout.contains('\u{9b}'), "{output:?}");
        if Mode::Root == mode || needs("threat_29_line_cannot_forge_another_or_control_a_terminal", &[Feature::Root]) {
            let logs = casemate.state().join("logs/a");
            let mut lines = 0;
            for entry in fs::read_dir(logs).unwrap().flatten() {
                for line in fs::read_to_string(entry.path()).unwrap().lines() {
                    // The forged time stamp is inside a line that has its own.
                    assert!(!line.starts_with("2026-01-01T00:00:00.000000000Z"), "{line:?}");
                    lines += 1;
                }
            }
            assert!(lines >= 2);
        }
    }

    fn threat_30_helper_has_an_empty_environment(mode) {
        let casemate = Instance::new(mode);
        let rootfs = casemate.rootfs_with_probe("rootfs");
        let config = json!({ "Entrypoint": ["/probe"], "Env": ["PATH=/", "LD_PRELOAD=/evil.so", "NOTIFY_SOCKET=/evil"] });
        let image = casemate.import_directory("hostile", &rootfs, &config);
        let spec = Spec::new([Container::new("a", &image, 10_001).command(&["misbehave", "sleep"])]);
        let file = casemate.write("casemate.toml", &casemate.text_of(&spec));
        let mut command = casemate.in_cgroup(&["up", &file]);
        for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "GCONV_PATH", "NOTIFY_SOCKET", "LISTEN_FDS", "TZDIR"] {
            if name != "LD_PRELOAD" {
                command.env(name, "/evil");
            }
        }
        let mut up = casemate_e2e::Up::start(command);
        up.until_line("sleeping");
        if needs("threat_30_helper_has_an_empty_environment", &[Feature::Root]) {
            let helpers = casemate.helpers();
            assert!(!helpers.is_empty());
            for helper in helpers {
                assert_eq!(fs::read(format!("/proc/{}/environ", helper.pid)).unwrap(), b"", "{helper:?}");
            }
        }
        // The image's go to the payload and no further.
        let report = {
            up.signal(Signal::INT);
            up.finish();
            casemate.report_of(Container::new("b", &image, 10_002), "")
        };
        assert!(report.surroundings.environment.contains(&"NOTIFY_SOCKET=/evil".to_owned()), "{:?}", report.surroundings.environment);
    }

    fn threat_32_control_socket_bounds_requests(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([Container::new("a", &image, 10_001).command(&["misbehave", "sleep"])]));
        up.until_line("sleeping");
        if needs("threat_32_control_socket_bounds_requests", &[Feature::Root]) {
            let mut stream = UnixStream::connect(casemate.run_directory().join("control.sock")).unwrap();
            stream.set_write_timeout(Some(poll::PATIENCE)).unwrap();
            let block = [b'x'; 65_536];
            let taken = (0..1024).take_while(|_| stream.write_all(&block).is_ok()).count();
            assert!(taken < 1024, "64 MiB of one request were taken");
        }
        // Well-formed requests are still answered.
        casemate.run(&["ps"]).expect(0);
        up.signal(Signal::INT);
        up.finish();
    }

    fn threat_32_file_size_is_bounded(mode) {
        let casemate = Instance::new(mode);
        let text = format!("schema = 1\n[appliance]\nname = \"x\"\n# {}\n", "x".repeat(2 << 20));
        let file = casemate.write("large.toml", &text);
        casemate.run(&["check", &file]).expect(3);
        casemate.run(&["up", &file]).expect(3);
    }
}

#[test]
fn threat_19_other_users_reach_no_layers_volumes_or_logs() {
    if !needs("threat_19_other_users_reach_no_layers_volumes_or_logs", &[Feature::Root]) {
        return;
    }
    for mode in [Mode::Root, Mode::User] {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let spec = Spec::new([Container::new("a", &image, 10_001)
            .command(&["true"])
            .set("volumes", "[{ type = \"volume\", source = \"v\", target = \"/data\" }]")])
        .head("[volumes.v]");
        casemate.up_to_the_end(&spec).expect(0);
        let state = casemate.state();
        let owner = fs::metadata(&state).unwrap();
        let top = if mode == Mode::Root { 0o711 } else { 0o700 };
        assert_eq!(owner.mode() & 0o7777, top, "{}", state.display());
        // Its owner could replace the helper's layers by another directory.
        assert_eq!(owner.uid() == 0, mode == Mode::Root, "{}", state.display());
        let mut seen = 0;
        for entry in fs::read_dir(&state).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
            let data = entry.metadata().unwrap();
            assert_eq!(data.mode() & 0o7777, 0o700, "{}", entry.path().display());
            assert_ne!(data.uid(), 0, "{}", entry.path().display());
            seen += 1;
            for other_user in [65_534, 12_345] {
                let status =
                    Command::new("/bin/ls").arg(entry.path()).uid(other_user).gid(other_user).output().unwrap().status;
                assert!(!status.success(), "{other_user} can list {}", entry.path().display());
            }
        }
        assert!(seen >= 5, "{seen} directories below {}", state.display());
        if mode == Mode::Root {
            let owner = |name: &str| fs::metadata(state.join(name)).unwrap().uid();
            assert_ne!(owner("blobs"), owner("layers"), "manager and helper own the same");
        }
        assert!(host::mounts_of(&state).is_empty());
    }
}

#[test]
fn threat_02_manager_inherits_no_descriptor_of_its_caller() {
    Mode::Root.run("threat_02_manager_inherits_no_descriptor_of_its_caller", |mode| {
        let casemate = Instance::new(mode);
        let secret = casemate.write("secret", "");
        let image = casemate.probe();
        let start = |words: &[&str]| {
            let inner = casemate.command(words);
            let mut outer = Command::new("/bin/bash");
            outer.args(["-c", "exec 9<\"$0\"; exec 300<\"$0\"; exec \"$@\"", &secret]);
            outer.arg(inner.get_program()).args(inner.get_args());
            casemate_e2e::Up::start(outer)
        };
        let expect_none = || {
            let processes = casemate.processes();
            assert!(!processes.is_empty());
            for process in processes {
                let open = fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap().flatten();
                let leaked: Vec<_> =
                    open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == Path::new(&secret))).collect();
                assert!(leaked.is_empty(), "{leaked:?} of {process:?}");
            }
        };
        let probe = place::program("casemate-probe");
        // The other verbs while they wait for the store, as that user and with what others wrote still to be read.
        let store = fs::File::open(casemate.state().join("images")).unwrap();
        rustix::fs::flock(&store, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let pack = ["image", "pack", "--binary", probe.to_str().unwrap()];
        for words in [&["store", "gc"][..], &["store", "fsck"], &["image", "rm", "a"], &pack] {
            let verb = start(words);
            poll::until("its word that it waits", || verb.stderr().contains("waiting").then_some(()));
            expect_none();
            host::signal(verb.pid(), Signal::KILL);
            verb.finish();
        }
        drop(store);
        let spec = Spec::new([Container::new("a", &image, 10_001).command(&["misbehave", "sleep"])]);
        let mut up = start(&["up", &casemate.write("leak.toml", &casemate.text_of(&spec))]);
        up.until_line("sleeping");
        expect_none();
        up.signal(Signal::INT);
        up.finish().expect(0);
        // What an argument names is what the caller means.
        let file = casemate.write("meant.toml", &casemate.text_of(&spec));
        let inner = casemate.command(&["check", "/dev/fd/9"]);
        let mut outer = Command::new("/bin/bash");
        outer.args(["-c", "exec 9<\"$0\"; exec \"$@\"", &file]).arg(inner.get_program()).args(inner.get_args());
        casemate_e2e::finish(outer, poll::PATIENCE).expect(0);
    });
}
