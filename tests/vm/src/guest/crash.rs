//! `kill -9`, restarts and upgrades: which processes keep running, and which lines are kept.

use super::appliance::{
    HELPER, MANAGER, PAYLOAD, apply, casemate, container, kill, manager_pid, numbered, payloads, probe, property, ps,
    restart, run, until_output, until_state,
};
use super::command::sh;
use super::wait::until;
use casemate_e2e::Spec;
use std::collections::BTreeMap;

/// Pids of all containers.
pub fn pids() -> BTreeMap<String, i32> {
    let all = until("an answer of the manager", ps);
    all.into_iter().map(|status| (status.name, status.pid.unwrap_or(0))).collect()
}

/// Something happens to the manager again and again while a container of this name, which no other test has, writes without end:
/// the same processes before and after, and every line once.
fn through(name: &str, times: u32, mut what: impl FnMut()) {
    let image = probe();
    let writer = container(name, &image, 10_001, &["misbehave", "lines", "1000000", "4000"]);
    run(&image, [writer.set("logging", "{ max_size = \"32MiB\", max_file = 2 }")]);
    until_output(name, "line 1\n");
    let before = pids();
    let last = || numbered(&casemate(&["logs", name]).expect(0)).last().copied().unwrap();
    for _ in 0..times {
        let seen = last();
        what();
        assert_eq!(pids(), before);
        until("lines after it", || (last() > seen + 20).then_some(()));
    }
    // While it writes, one stream may be a few lines ahead of the other.
    casemate(&["stop", name]).expect(0);
    let lines = numbered(&casemate(&["logs", name]).expect(0));
    let wrong: Vec<_> = (1..).zip(&lines).filter(|(expected, line)| expected != *line).take(5).collect();
    assert!(wrong.is_empty(), "a line is missing or twice, of {}: {wrong:?}", lines.len());
}

/// The manager is killed; its unit starts the next one, which takes over.
pub fn of_the_manager_is_followed_by_adoption() {
    through("killed", 3, || {
        let old = manager_pid();
        kill(old);
        until("the next manager", || (manager_pid() != old).then_some(()));
    });
}

/// `systemctl restart` touches no container.
pub fn is_no_worse_than_a_restart() {
    through("restarted", 2, restart);
}

/// A later package brings a new manager; the helper and the containers run on as they are.
pub fn is_no_worse_than_an_upgrade() {
    through("upgraded", 1, || {
        let manager = manager_pid();
        let helper = property(HELPER, "MainPID");
        sh(&format!("dpkg --install {PAYLOAD}/casemate-next.deb")).expect(0);
        assert_ne!(manager_pid(), manager, "the old manager is still there");
        assert_eq!(property(HELPER, "MainPID"), helper);
    });
    let version = sh("dpkg-query --show --showformat '${Version}' casemate").expect(0).stdout;
    assert!(version.ends_with(".1"), "{version}");
}

/// The helper is killed: all containers end with it, nothing stays behind, and all come back.
pub fn of_the_helper_ends_all_and_all_comes_back() {
    let image = probe();
    let sleeper = |name: &str, uid| container(name, &image, uid, &["misbehave", "sleep"]).set("restart", "\"always\"");
    apply(&Spec::new([sleeper("a", 10_001), sleeper("b", 10_002)]));
    for name in ["a", "b"] {
        until_state(name, "running");
    }
    let before = pids();
    kill(property(HELPER, "MainPID").parse().unwrap());
    all_come_back(&before);
}

/// Every container runs with another process, and no process of before is left.
pub fn all_come_back(before: &BTreeMap<String, i32>) {
    until("all to be back", || {
        let now: BTreeMap<String, i32> = ps()?.into_iter().filter_map(|s| Some((s.name, s.pid?))).collect();
        (now.len() == before.len() && now.iter().all(|(name, pid)| before.get(name) != Some(pid))).then_some(())
    });
    let now: Vec<i32> = pids().into_values().collect();
    let stray: Vec<_> = payloads().into_iter().filter(|process| !now.contains(&process.pid)).collect();
    assert!(stray.is_empty(), "{stray:?}");
    assert_eq!(property(MANAGER, "ActiveState"), "active");
}
