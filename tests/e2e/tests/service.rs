//! The manager and the helper as services: what they take from a service manager, what they tell it, and what they refuse.
//! systemd is played by the harness here; that systemd itself does all this is asked in a virtual machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::units::Units;
use casemate_e2e::{Container, Feature, Instance, Mode, Spec, host, needs, poll};
use rustix::process::Signal;

fn payload(casemate: &Instance, word: &str) -> Vec<i32> {
    let all = casemate.processes().into_iter();
    all.filter(|p| p.arguments.iter().any(|argument| argument == word)).map(|p| p.pid).collect()
}

/// Two containers that sleep, of a file that waives limits: what is delegated to a service is cgroup v2, which not every
/// machine of the tests has.
fn file(casemate: &Instance) -> String {
    let image = casemate.probe();
    let sleeper = |name, uid| {
        Container::new(name, &image, uid).command(&["misbehave", "sleep"]).set("stop_grace_period", "\"1s\"")
    };
    let spec = Spec::new([sleeper("first", 10_001), sleeper("second", 10_002)]).without_limits();
    casemate.write("casemate.toml", &spec.text())
}

#[test]
fn the_services_start_tell_and_outlive_each_other() {
    if !needs("the_services_start_tell_and_outlive_each_other", &[Feature::Root]) {
        return;
    }
    let casemate = Instance::new(Mode::Root);
    let units = Units::new(&casemate);
    let mut helper = units.helper();
    units.until_helper_says("READY=1");
    units.until_helper_says("WATCHDOG=1");
    let file = file(&casemate);

    // The declared set is up when the manager says so.
    let manager = units.manager(&["supervise", &file]);
    units.until_manager_says("READY=1");
    let before = poll::until("both containers", || Some(payload(&casemate, "sleep")).filter(|pids| pids.len() == 2));
    units.until_manager_says("WATCHDOG=1");

    // None of them has a capability on the host.
    for process in casemate.helpers().iter().filter(|process| process.field("NSpid").split('\t').count() == 1) {
        assert_eq!(process.field("CapPrm"), "0000000000000000", "{:?}", process.arguments);
    }

    // An end, and the containers run on; a kill too; the next manager takes them over.
    manager.signal(Signal::TERM);
    manager.finish().expect(0);
    assert_eq!(payload(&casemate, "sleep"), before);
    for end in [Signal::KILL, Signal::TERM] {
        units.forget();
        let manager = units.manager(&["supervise", &file]);
        let status = units.until_manager_says("STATUS=");
        assert!(status.contains("first running, second running"), "{status}");
        units.until_manager_says("READY=1");
        assert_eq!(payload(&casemate, "sleep"), before);
        manager.signal(end);
        let _ = manager.finish();
    }

    // Somebody asks for the end of all while no manager runs: in reverse order, and the helper stays.
    let stopped = units.manager(&["supervise", "--stop", &file]).finish().expect(0);
    let at = |name: &str| stopped.stderr.find(&format!("casemate: {name}: exited")).unwrap_or(usize::MAX);
    assert!(at("second") < at("first") && at("first") < usize::MAX, "{}", stopped.stderr);
    assert!(payload(&casemate, "sleep").is_empty());
    assert!(!helper.has_ended());

    // And while one runs.
    units.forget();
    let manager = units.manager(&["supervise", &file]);
    units.until_manager_says("READY=1");
    units.manager(&["supervise", "--stop", &file]).finish().expect(0);
    manager.finish().expect(0);
    units.until_manager_says("STOPPING=1");
    assert!(payload(&casemate, "sleep").is_empty());

    // A loop that does not turn is told by its silence, although the doorman lives.
    units.forget();
    let realm = casemate.helpers().into_iter().find(|process| process.field("NSpid").split('\t').count() == 2).unwrap();
    host::signal(realm.pid, Signal::STOP);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    units.forget();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert!(units.helper_is_silent());
    helper.signal(Signal::TERM);
    helper.wait(poll::PATIENCE).expect(0);
    poll::until("the end of A", || casemate.helpers().is_empty().then_some(()));
}

#[test]
fn what_the_service_manager_has_not_done_is_an_error() {
    if !needs("what_the_service_manager_has_not_done_is_an_error", &[Feature::Root]) {
        return;
    }
    let casemate = Instance::new(Mode::Root);
    let units = Units::new(&casemate);
    let refused = |up: casemate_e2e::Up, words: &str| {
        let output = up.finish();
        assert!(output.code != 0 && output.stderr.contains(words), "{output:?}");
    };
    refused(units.helper_with(&["--inh-caps=-all", "--bounding-set=-all"]), "check its capabilities");
    let too_many = "--inh-caps=-all,+setuid,+setgid,+chown";
    refused(units.helper_with(&[too_many, "--ambient-caps=+setuid,+setgid,+chown"]), "check its capabilities");
    // The helper's verb as the manager's user, and the manager's as root.
    refused(units.manager(&["helper"]), "check its identity");
    let file = casemate.write("casemate.toml", "");
    let output = casemate.run(&["supervise", &file]);
    assert!(output.code != 0, "{output:?}");
}
