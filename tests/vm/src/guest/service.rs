//! The services under systemd: up with the boot, watched, stopped in order.

use super::appliance::{
    HELPER, MANAGER, PAYLOAD, STATE, anchor, apply, casemate, container, manager_pid, output_of, payloads, probe,
    property, ps, run, status, until_output, until_state, write_file,
};
use super::command::sh;
use super::run::note;
use super::wait::until;
use casemate_e2e::{Spec, host};
use std::fs;
use std::time::{Duration, Instant};

/// How many containers the boot is measured with.
const MANY: u32 = 20;

/// The file applied in the previous boot starts in this one, without a network and without a command.
pub fn comes_up_with_the_boot_and_without_network() {
    let links: Vec<_> = fs::read_dir("/sys/class/net").unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(links, ["lo"]);
    let status = until_state("anchor", "running");
    assert_eq!(status.restarts, 0, "{status:?}");
    assert_eq!(property("casemate.target", "ActiveState"), "active");
    assert_eq!(sh("systemctl --failed --no-legend").stdout, "");
    // READY means that the declared set is up.
    assert!(property(MANAGER, "StatusText").contains("anchor running"), "{}", property(MANAGER, "StatusText"));
}

/// A file for the next boot to be measured with.
pub fn takes_a_file_of_many() {
    let image = probe();
    let name = |n: u32| format!("many-{n}");
    let many = (1..=MANY).map(|n| container(&name(n), &image, 10_000 + n, &["misbehave", "sleep"]));
    apply(&Spec::new(many.map(|container| container.resource("memory", "\"16MiB\""))));
    until_state(&name(MANY), "running");
}

/// How long the boot took to bring them up, and what the services cost.
pub fn brings_many_up() {
    let all = until("the manager to be ready", || (property(MANAGER, "ActiveState") == "active").then(ps).flatten());
    assert_eq!(all.len(), MANY as usize);
    assert!(all.iter().all(|status| status.state == "running"), "{all:?}");
    let at = |name: &str| property(MANAGER, name).parse::<u64>().unwrap();
    let took = at("ActiveEnterTimestampMonotonic") - at("ExecMainStartTimestampMonotonic");
    note(format!("from the manager's start to the last of {MANY} containers running: {} ms (emulated)", took / 1000));
    for process in host::processes().into_iter().filter(|process| process.name.starts_with("casemate")) {
        let memory = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).unwrap_or_default();
        let memory = memory.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default().trim();
        if ["casemate", "casemate-helper"].contains(&process.name.as_str()) {
            note(format!("memory of {} ({}): {memory}", process.name, process.pid));
        }
    }
}

/// `systemctl reload` starts what is new, touches nothing else, and fails with a file that is wrong.
pub fn reloads_its_file() {
    let image = probe();
    run(&image, []);
    let manager = manager_pid();
    let anchored = until_state("anchor", "running").pid;
    let new = container("new", &image, 10_001, &["misbehave", "sleep"]);
    write_file(&Spec::new([anchor(&image), new.clone()]));
    sh("systemctl reload casemate").expect(0);
    let started = until_state("new", "running").pid;
    write_file(&Spec::new([anchor(&image), new.set("nonsense", "1")]));
    assert_ne!(sh("systemctl reload casemate").code, 0);
    assert_eq!((status("anchor").pid, status("new").pid), (anchored, started));
    assert_eq!((manager_pid(), property(MANAGER, "ActiveState").as_str()), (manager, "active"));
    run(&image, []);
}

/// Containers stop in the reverse order of the file; one that does not listen has its grace period and no more.
pub fn stops_in_reverse_order() {
    let image = probe();
    let sleeper = |name: &str, uid| container(name, &image, uid, &["misbehave", "sleep"]).set("init", "true");
    let deaf = container("deaf", &image, 10_002, &["misbehave", "ignore-term"]).set("stop_grace_period", "\"3s\"");
    apply(&Spec::new([sleeper("one", 10_001), deaf, sleeper("three", 10_003)]));
    for name in ["one", "deaf", "three"] {
        until_state(name, "running");
    }
    until_output("deaf", "ignoring");
    // In what order their processes are gone.
    let mut left: Vec<(&str, i32)> = ["one", "deaf", "three"].map(|name| (name, status(name).pid.unwrap())).to_vec();
    let mut order = Vec::new();
    let begin = Instant::now();
    sh("systemctl stop --no-block casemate.target").expect(0);
    until("all to have ended", || {
        left.retain(|(name, pid)| {
            let there = host::Process::of(*pid).is_some_and(|process| process.state != 'Z');
            if !there {
                order.push(*name);
            }
            there
        });
        left.is_empty().then_some(())
    });
    assert_eq!(order, ["three", "deaf", "one"]);
    assert!(begin.elapsed() >= Duration::from_secs(3), "{:?}", begin.elapsed());
    until("the services to be gone", || {
        ["casemate.target", MANAGER, HELPER]
            .into_iter()
            .all(|unit| property(unit, "ActiveState") == "inactive")
            .then_some(())
    });
    assert!(payloads().is_empty());
    sh("systemctl start casemate.target").expect(0);
    until_state("one", "running");
}

/// No byte can be written any more: what runs runs on, what is asked for fails and says why, and afterwards all is well.
pub fn survives_a_full_disk() {
    let image = probe();
    let flood = container("flood", &image, 10_001, &["misbehave", "lines", "100000000", "200"]);
    run(&image, [flood.set("logging", "{ max_size = \"64KiB\", max_file = 2 }")]);
    until_output("flood", "line");
    let before = status("flood");
    let full = Full::new();
    let layout = format!("{PAYLOAD}/large/layout");
    let output = casemate(&["image", "import", &layout, "--name", "full"]);
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("No space left"), "{output:?}");
    // Its output waits, and so does a container that waits for its output; neither is lost.
    let last = || output_of("flood").lines().last().map(str::to_owned);
    let stuck = until("its output to wait", || {
        let before = last();
        sh("sleep 2").expect(0);
        (last() == before).then_some(before)
    });
    assert_eq!(status("flood"), before);
    drop(full);
    until("another line", || (last() != stuck).then_some(()));
    let size: u64 =
        sh(&format!("du --apparent-size --bytes -s {STATE}/logs/flood | cut -f1")).stdout.trim().parse().unwrap();
    assert!(size <= (2 << 16) + 4096, "{size} bytes of logs");
    // Of each stream every line, up to where the oldest ones are forgotten.
    let numbers = |text: &str| -> Vec<u64> {
        text.lines().map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect()
    };
    let output = casemate(&["logs", "flood"]).expect(0);
    for stream in [output.stdout, output.stderr] {
        assert!(numbers(&stream).windows(2).all(|two| two[1] == two[0] + 2), "a line is missing");
    }
    casemate(&["image", "import", &layout, "--name", "full"]).expect(0);
    let digest = fs::read_to_string(format!("{PAYLOAD}/large/digest")).unwrap();
    casemate(&["image", "rm", &digest]).expect(0);
    assert_eq!(status("flood"), before);
    run(&image, []);
}

/// A state disk without a free byte, until it is dropped.
struct Full;

impl Full {
    fn new() -> Self {
        // dd gets what fallocate leaves.
        sh(&format!(
            "fallocate -l $(($(stat -f -c '%a * %S' {STATE}) - 65536)) {STATE}/full; dd if=/dev/zero of={STATE}/fuller bs=4096"
        ));
        assert_eq!(sh(&format!("stat -f -c %a {STATE}")).stdout.trim(), "0");
        Self
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        sh(&format!("rm -f {STATE}/full {STATE}/fuller"));
    }
}

/// Nothing but the state directory can be written, and the containers of the file run; images come, and containers start again.
pub fn needs_no_other_place_to_write() {
    assert!(fs::write("/etc/written", "").is_err_and(|error| error.kind() == std::io::ErrorKind::ReadOnlyFilesystem));
    probe();
    let before = until_state("many-1", "running");
    casemate(&["restart", "many-1"]).expect(0);
    assert_ne!(until_state("many-1", "running").pid, before.pid);
}

/// The clock, which was past the end of 32-bit time when the host booted, is set back and ahead by decades: what runs runs on, what is
/// new starts. (systemd itself corrects a clock that says more than 15 years after its making, or less than its making.)
pub fn does_not_mind_the_year() {
    let year = |expected: &str| {
        let date = sh("date +%F").stdout;
        assert!(date.starts_with(expected), "the clock says {date}");
    };
    year("2038");
    sh("mount -o remount,rw /").expect(0);
    let image = probe();
    run(&image, []);
    let before = until_state("anchor", "running");
    for (time, expected) in [("2001-02-03", "2001"), ("2105-06-07", "2105")] {
        sh(&format!("date --set={time}")).expect(0);
        year(expected);
        let name = format!("year-{expected}");
        run(&image, [container(&name, &image, 10_001, &["misbehave", "sleep"])]);
        until_output(&name, "sleeping");
        assert_eq!(until_state("anchor", "running").pid, before.pid);
    }
    run(&image, []);
}
