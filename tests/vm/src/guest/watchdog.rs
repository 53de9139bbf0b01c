//! Services that live and do nothing: their watchdogs, set to a time that a test can wait for.

use super::appliance::{HELPER, MANAGER, apply, container, manager_pid, probe, property, until_state};
use super::command::sh;
use super::crash::{all_come_back, pids};
use super::wait::until;
use casemate_e2e::{Spec, host};
use rustix::process::Signal;
use std::fs;

/// A manager that does nothing any more is replaced, and the next one adopts.
pub fn replaces_a_manager_that_hangs() {
    let quick = Quick::watch(MANAGER);
    let before = up();
    let old = manager_pid();
    assert!(host::signal(old, Signal::STOP));
    until("the next manager", || (manager_pid() != old).then_some(()));
    for (name, pid) in before {
        assert_eq!(until_state(&name, "running").pid, Some(pid));
    }
    assert_ne!(property(MANAGER, "NRestarts"), "0");
    drop(quick);
}

/// The helper's first process is well, its loop inside A is not: all ends, and all comes back.
pub fn replaces_a_helper_that_hangs() {
    let quick = Quick::watch(HELPER);
    let before = up();
    let listener: i32 = property(HELPER, "MainPID").parse().unwrap();
    let all = host::processes();
    let inner = all.iter().find(|process| process.parent == listener).expect("the helper's process in A");
    assert!(host::signal(inner.pid, Signal::STOP));
    all_come_back(&before);
    assert_ne!(property(HELPER, "MainPID"), listener.to_string());
    drop(quick);
}

/// Two containers that run.
fn up() -> std::collections::BTreeMap<String, i32> {
    let image = probe();
    let sleeper = |name: &str, uid| container(name, &image, uid, &["misbehave", "sleep"]).set("restart", "\"always\"");
    apply(&Spec::new([sleeper("a", 10_001), sleeper("b", 10_002)]));
    for name in ["a", "b"] {
        until_state(name, "running");
    }
    pids()
}

/// A unit whose watchdog is less patient, until this is dropped.
struct Quick(&'static str);

impl Quick {
    fn watch(unit: &'static str) -> Self {
        let directory = format!("/run/systemd/system/{unit}.d");
        fs::create_dir_all(&directory).unwrap();
        fs::write(format!("{directory}/quick.conf"), "[Service]\nWatchdogSec=10s\n").unwrap();
        sh(&format!("systemctl daemon-reload && systemctl restart {unit}")).expect(0);
        Self(unit)
    }
}

impl Drop for Quick {
    fn drop(&mut self) {
        fs::remove_dir_all(format!("/run/systemd/system/{}.d", self.0)).unwrap();
        sh(&format!("systemctl daemon-reload && systemctl restart {}", self.0));
    }
}
