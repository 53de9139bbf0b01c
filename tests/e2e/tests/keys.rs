//! Keys of the file that no other test sees at work: each one's effect, asked from inside or of the kernel's files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::{Container, Feature, Instance, Report, Spec, both_modes, cgroups, needs, poll};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

fn options<'r>(report: &'r Report, target: &str) -> Vec<&'r str> {
    let mount = report.mounts.iter().rfind(|mount| mount.target == target);
    let mount = mount.unwrap_or_else(|| panic!("no mount on {target}: {:?}", report.mounts));
    mount.options.iter().chain(&mount.super_options).map(String::as_str).collect()
}

/// A file of the container's cgroup, of whichever hierarchy has one of these names.
fn cgroup_file(container: &str, names: &[&str]) -> PathBuf {
    let directories = cgroups::find(&format!("c-{container}"));
    let files = directories.iter().flat_map(|directory| names.iter().map(move |name| directory.join(name)));
    files.into_iter().find(|file| file.exists()).unwrap_or_else(|| panic!("no {names:?} in {directories:?}"))
}

/// A block device of this host that can be limited: a whole one.
fn block_device() -> Option<(PathBuf, String)> {
    let devices = fs::read_dir("/sys/block").ok()?.flatten().filter_map(|entry| {
        let path = Path::new("/dev").join(entry.file_name());
        let device = fs::metadata(&path).ok()?.rdev();
        Some((path, format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))))
    });
    devices.into_iter().next()
}

both_modes! {
    fn sizes_masks_and_capabilities_follow_the_file(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let container = Container::new("a", &image, 10_001)
            .set("shm_size", "\"3MiB\"")
            .set("security", "{ masked_paths = [\"/proc/cpuinfo\", \"/proc/tty\"], cap_add = [\"NET_BIND_SERVICE\"] }")
            .set("labels", "{ \"org.example.owner\" = \"tests\" }");
        let report = casemate.report_of(container, "[defaults]\ninit = true\nsecurity = { masked_paths = [\"/proc/meminfo\"] }\n");
        assert!(options(&report, "/dev/shm").contains(&"size=3072k"), "{:?}", options(&report, "/dev/shm"));
        // Those of the container and those of the defaults.
        for masked in ["/proc/cpuinfo", "/proc/meminfo", "/proc/tty"] {
            assert!(report.mounts.iter().any(|mount| mount.target == masked), "{masked}: {:?}", report.mounts);
        }
        let sets = &report.identity.capabilities;
        for set in [&sets.inheritable, &sets.permitted, &sets.effective, &sets.bounding, &sets.ambient] {
            assert_eq!(set, "0000000000000400", "{sets:?}");
        }
        assert_eq!(report.surroundings.parent, 1, "defaults.init");
    }

    fn read_only_paths_of_the_file_cannot_be_written(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let is_writable = |security: &str| {
            let container = Container::new("a", &image, 10_001).set("security", security);
            let report = casemate.report_of(container, "[defaults]\nsecurity = { read_only_paths = [\"/proc/tty\"] }\n");
            assert!(options(&report, "/proc/tty").contains(&"ro"), "{:?}", report.mounts);
            report.writable.proc_self.iter().any(|file| file.ends_with("/comm"))
        };
        assert!(is_writable("{}"), "a process can rename itself");
        assert!(!is_writable("{ read_only_paths = [\"/proc/1/comm\"] }"));
    }

    fn mount_options_follow_the_file(mode) {
        let casemate = Instance::new(mode);
        let source = casemate.scratch("shown");
        fs::set_permissions(&source, fs::Permissions::from_mode(0o777)).unwrap();
        let image = casemate.probe();
        let bind = |target: &str, more: &str| format!("{{ type = \"bind\", source = {source:?}, target = {target:?}{more} }}");
        let volume = |target: &str, more: &str| format!("{{ type = \"volume\", source = \"v\", target = {target:?}{more} }}");
        let volumes = [
            bind("/bind", ""), bind("/bind-rw", ", read_only = false, exec = true"),
            volume("/volume", ""), volume("/volume-ro", ", read_only = true, exec = true"),
            "{ type = \"tmpfs\", target = \"/scratch\", size = \"2MiB\", exec = true }".to_owned(),
        ];
        let container = Container::new("a", &image, 10_001).set("volumes", &format!("[{}]", volumes.join(", ")));
        let report = casemate.report_of(container, "[volumes.v]\npersistence = \"permanent\"\n");
        for (target, read_only, noexec) in
            [("/bind", true, true), ("/bind-rw", false, false), ("/volume", false, true), ("/volume-ro", true, false), ("/scratch", false, false)]
        {
            let mount = report.mounts.iter().rfind(|mount| mount.target == target).unwrap();
            let has = |option: &str| mount.options.iter().any(|there| there == option);
            assert_eq!((has("ro"), has("noexec")), (read_only, noexec), "{mount:?}");
            assert_eq!(report.writable.directories.iter().any(|path| path == target), !read_only, "{target}");
        }
        assert!(options(&report, "/scratch").contains(&"size=2048k"));
    }

    fn persistent_root_is_kept_and_ephemeral_root_is_lost(mode) {
        let casemate = Instance::new(mode);
        let rootfs = casemate.rootfs_with_probe("rootfs");
        fs::create_dir(rootfs.join("tmp")).unwrap();
        fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        let image = casemate.pack_directory("writer", &rootfs, &["--entrypoint", "/probe"]);
        let run = |root: &str, words: &[&str]| {
            let container = Container::new("a", &image, 10_001).command(words).set("read_only", "false").set("writable_root", root);
            casemate.up_to_the_end(&Spec::new([container])).expect(0).stdout
        };
        for (root, after) in [("{ type = \"ephemeral\", size = \"1MiB\" }", "ENOENT"), ("{ type = \"persistent\" }", "worked")] {
            assert!(run(root, &["misbehave", "mark", "/tmp"]).contains("mark: worked"));
            assert!(run(root, &["misbehave", "find", "/tmp/mark"]).contains(&format!("find: {after}")), "{root}");
        }
    }

    fn less_common_limits_are_set_in_the_kernel(mode) {
        let test = "less_common_limits_are_set_in_the_kernel";
        if !needs(test, &[Feature::Limits(mode)]) {
            return;
        }
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let container = || Container::new("rarer", &image, 10_001).command(&["misbehave", "sleep"]).resource("memory", "\"32MiB\"");
        let with = container().resource("memory_swap", "\"4MiB\"").resource("cpu_weight", "50");
        let mut up = casemate.up(&Spec::new([with]));
        up.until_line("sleeping");
        let read = |names: &[&str]| fs::read_to_string(cgroup_file("rarer", names)).unwrap().trim().to_owned();
        // Of v1's shares, 1024 are what 100 is of v2's weight.
        assert!(["50", "512"].contains(&read(&["cpu.weight", "cpu.shares"]).as_str()));
        // v1 counts both together. Without swap on the host a kernel may have neither file.
        if !cgroups::find("c-rarer").iter().all(|d| !d.join("memory.swap.max").exists() && !d.join("memory.memsw.limit_in_bytes").exists()) {
            let swap: u64 = read(&["memory.swap.max", "memory.memsw.limit_in_bytes"]).parse().unwrap();
            assert!([4 << 20, 36 << 20].contains(&swap), "{swap}");
        }
        let on_v2 = cgroup_file("rarer", &["memory.max", "memory.limit_in_bytes"]).ends_with("memory.max");
        up.signal(Signal::INT);
        up.wait(poll::PATIENCE);

        let mut up = casemate.up(&Spec::new([container().resource("memory_high", "\"24MiB\"")]));
        if on_v2 {
            up.until_line("sleeping");
            assert_eq!(read(&["memory.high"]), (24 << 20).to_string());
            up.signal(Signal::INT);
        }
        let output = up.wait(poll::PATIENCE);
        assert!(on_v2 || (output.code == 5 && output.stderr.contains("memory_high")), "{output:?}");
    }

    fn io_limits_slow_down_a_device(mode) {
        let test = "io_limits_slow_down_a_device";
        if !needs(test, &[Feature::Limits(mode), Feature::Root]) {
            return;
        }
        let Some((path, device)) = block_device() else {
            eprintln!("{test}: this host has no block device");
            return;
        };
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let io = format!("[{{ device = {path:?}, write_bps = \"1MiB\", read_iops = 500 }}]");
        let mut up = casemate.up(&Spec::new([Container::new("slowed", &image, 10_001).command(&["misbehave", "sleep"]).resource("io", &io)]));
        up.until_line("sleeping");
        let read = |names: &[&str]| fs::read_to_string(cgroup_file("slowed", names)).unwrap();
        let writes = read(&["io.max", "blkio.throttle.write_bps_device"]);
        assert!(writes.contains(&device) && writes.contains("1048576"), "{device}: {writes}");
        assert!(read(&["io.max", "blkio.throttle.read_iops_device"]).contains("500"));
        up.signal(Signal::INT);
        up.wait(poll::PATIENCE);
    }
}
