//! The host itself: that it is what casemate is for, before anything is asked of casemate.

use super::run::note;
use std::fs;
use std::process::Command;

/// systemd as pid 1, one cgroup hierarchy with every controller, Landlock and AppArmor on, no network.
pub fn is_what_casemate_is_for() {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(read("/proc/1/comm").trim(), "systemd");
    let controllers = read("/sys/fs/cgroup/cgroup.controllers");
    for controller in ["cpuset", "cpu", "io", "memory", "pids"] {
        assert!(controllers.split_whitespace().any(|word| word == controller), "{controller} of {controllers}");
    }
    let modules = read("/sys/kernel/security/lsm");
    for module in ["landlock", "apparmor"] {
        assert!(modules.trim().split(',').any(|word| word == module), "{module} of {modules}");
    }
    assert_eq!(read("/sys/module/apparmor/parameters/enabled").trim(), "Y");
    let links: Vec<_> = fs::read_dir("/sys/class/net").unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(links, ["lo"]);
    let times = Command::new("systemd-analyze").arg("time").output().unwrap();
    note(format!("kernel {}", read("/proc/sys/kernel/osrelease").trim()));
    note(format!("cgroup v2: {}; security modules: {}", controllers.trim(), modules.trim()));
    note(String::from_utf8_lossy(&times.stdout).lines().next().unwrap_or_default().to_owned());
}
