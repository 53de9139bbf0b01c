//! The manager and the helper as services: what a service manager passes to them, their notifications, and what they refuse.
//! systemd is played by the harness here; that systemd itself does all this is asked in a virtual machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::units::{Units, receive};
use casemate_e2e::{Container, Instance, Output, Spec, Up, host, oci, place, poll, services};
use rustix::fs::FlockOperation;
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;

fn payload(casemate: &Instance, word: &str) -> Vec<i32> {
    let all = casemate.processes().into_iter();
    all.filter(|p| p.arguments.iter().any(|argument| argument == word)).map(|p| p.pid).collect()
}

/// The containers of [`file`].
fn ended_in_reverse(casemate: &Instance, stopped: &Output) {
    let at = |name: &str| stopped.stderr.find(&format!("casemate: {name}: exited")).unwrap_or(usize::MAX);
    assert!(at("second") < at("first") && at("first") < usize::MAX, "{}", stopped.stderr);
    assert!(payload(casemate, "sleep").is_empty());
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

services! { fn services_start_notify_and_survive_each_other(casemate, units) {
    let mut helper = units.helper_ready();
    units.until_helper_says("WATCHDOG=1");
    let file = file(&casemate);

    // The declared set is up when the manager says so.
    let manager = units.supervise(&file);
    let before = poll::until("both containers", || Some(payload(&casemate, "sleep")).filter(|pids| pids.len() == 2));
    units.until_manager_says("WATCHDOG=1");

    // What a unit's OOMScoreAdjust= spares, no payload inherits.
    for pid in &before {
        assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap(), "0\n");
    }

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

    // `down` without a running manager: in reverse order, and the helper stays.
    let stopped = units.manager(&["supervise", "--stop", &file]).finish().expect(0);
    ended_in_reverse(&casemate, &stopped);
    assert!(!helper.has_ended());

    // And while one runs.
    units.forget();
    let manager = units.supervise(&file);
    units.manager(&["supervise", "--stop", &file]).finish().expect(0);
    manager.finish().expect(0);
    units.until_manager_says("STOPPING=1");
    assert!(payload(&casemate, "sleep").is_empty());

    // An event loop that does not turn sends no ping, although the listener runs.
    units.forget();
    let outer = casemate.helpers().into_iter().find(|process| process.field("NSpid").split('\t').count() == 2).unwrap();
    host::signal(outer.pid, Signal::STOP);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    units.forget();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert!(units.helper_is_silent());
    helper.signal(Signal::TERM);
    helper.wait(poll::PATIENCE).expect(0);
    poll::until("the end of A", || casemate.helpers().is_empty().then_some(()));
} }

services! { fn stop_is_in_order_even_without_the_file(casemate, units) {
    let _helper = units.helper_ready();
    // Installed, without a file yet: there is nothing to stop.
    units.manager(&["supervise", "--stop", "/nonexistent"]).finish().expect(0);
    let file = file(&casemate);
    let manager = units.supervise(&file);
    manager.signal(Signal::TERM);
    manager.finish().expect(0);
    assert_eq!(payload(&casemate, "sleep").len(), 2);

    // The next one is on its way in: it has the lock, unpacks, and does not listen yet.
    casemate.write("casemate.toml", "schema = \"nonsense");
    let lock = std::fs::File::open(casemate.run_directory().join("manager.lock")).unwrap();
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
    let mut stop = units.manager(&["supervise", "--stop", &file]);
    units.forget();
    units.until_manager_says("WATCHDOG=1");
    assert!(!stop.has_ended() && payload(&casemate, "sleep").len() == 2);
    drop(lock);
    let stopped = stop.finish().expect(0);
    ended_in_reverse(&casemate, &stopped);
} }

/// Puts the file in its place as editors do, whole.
fn put(casemate: &Instance, spec: &Spec) -> String {
    let etc = casemate.directory().join("etc");
    if !etc.exists() {
        casemate.scratch("etc");
    }
    casemate.write("etc/next", &spec.text());
    std::fs::rename(etc.join("next"), etc.join("casemate.toml")).unwrap();
    etc.join("casemate.toml").to_str().unwrap().to_owned()
}

/// As systemd sees a reload: its start with a time stamp, and its end.
fn reload(units: &Units<'_>, manager: &Up) {
    units.forget();
    manager.signal(Signal::HUP);
    let began = units.until_manager_says("RELOADING=1");
    let time = began.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{began}"));
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let ago = (now.tv_sec * 1_000_000 + now.tv_nsec / 1000) - time.parse::<i64>().unwrap();
    assert!((0..60_000_000).contains(&ago), "{began}");
    units.until_manager_says("READY=1");
}

services! { fn reload_changes_only_changed_containers(casemate, units) {
    const LINES: u32 = 5000;
    let _helper = units.helper_ready();
    let image = casemate.probe();
    let container = |name: &str, uid| Container::new(name, &image, uid).set("stop_grace_period", "\"500ms\"");
    let sleeper = |name: &str, uid, word: &str| container(name, uid).command(&["misbehave", "sleep", word]);
    let lines = container("lines", 10_001).command(&["misbehave", "lines", &LINES.to_string(), "300"]);
    let stays = || sleeper("stays", 10_002, "10002");
    let file = put(
        &casemate,
        &Spec::new([
            lines.clone(),
            stays(),
            sleeper("changes", 10_003, "10003"),
            sleeper("goes", 10_004, "10004"),
            sleeper("rests", 10_005, "10005"),
        ])
        .without_limits(),
    );
    let manager = units.supervise(&file);
    let pid = |word: &str| payload(&casemate, word);
    let before = (pid("lines"), pid("10002"));
    assert!(pid("10003").len() == 1 && pid("10004").len() == 1);
    casemate.run(&["stop", "rests"]).expect(0);
    // This image is not unpacked when the file names it.
    let rootfs = casemate.rootfs_with_probe("rootfs");
    std::fs::write(rootfs.join("other"), "").unwrap();
    let other = casemate.pack_directory("other", &rootfs, &["--entrypoint", "/probe"]);
    let profile = std::fs::read_to_string(place::repository().join("policies/seccomp/service.toml")).unwrap();
    casemate.write("etc/own.toml", &profile);
    let own = oci::sha256(profile.as_bytes());
    let comes = Container::new("comes", &other, 10_004)
        .command(&["misbehave", "sleep", "20004"])
        .set("security", &format!("{{ seccomp = {{ profile = \"own.toml\", sha256 = \"{own}\" }} }}"));
    let waits = Up::start(casemate.command(&["wait", "goes"]));

    // Another command for one, a container of another image in the place of one, the rest as it was: with the same processes.
    let next = [lines, stays(), sleeper("changes", 10_003, "20003"), comes, sleeper("rests", 10_005, "10005")];
    put(&casemate, &Spec::new(next).without_limits());
    reload(&units, &manager);
    assert_eq!((pid("lines"), pid("10002")), before);
    assert!(pid("10003").is_empty() && pid("10004").is_empty());
    assert!(pid("20003").len() == 1 && pid("20004").len() == 1);
    assert!(pid("10005").is_empty(), "a stopped container stays stopped");
    waits.finish();
    let stderr = poll::until("its own log", || Some(manager.stderr()).filter(|all| all.contains("comes: started")));
    for words in
        ["changes: changed", "goes: not in the file any more", "applied sha256:", "\n<6>casemate: comes: started\n"]
    {
        assert!(stderr.contains(words), "{words:?} in {stderr}");
    }
    assert!(!stderr.contains("stays: changed") && stderr.matches("stays: started").count() == 1, "{stderr}");

    // Again and again, with nothing new; by the verb of ExecReload too, which comes back when all is up.
    for _ in 0..5 {
        reload(&units, &manager);
        units.manager(&["reload"]).finish().expect(0);
    }
    assert_eq!(pid("10002"), before.1);
    let all = poll::until("the last line", || {
        let logs = casemate.run(&["logs", "lines"]).expect(0);
        logs.stderr.contains(&format!("line {LINES}\n")).then(|| logs.stdout + &logs.stderr)
    });
    let mut numbers: Vec<u32> = all.lines().map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=LINES), "a line is lost or doubled");
    casemate.run(&["down"]).expect(0);
    manager.finish().expect(0);
} }

services! { fn manager_waiting_for_the_store_pings_the_watchdog_and_can_be_stopped(casemate, units) {
    let _helper = units.helper_ready();
    // Its layers have no inventory, so they are unpacked again; and a pull holds the store lock.
    let file = file(&casemate);
    for known in std::fs::read_dir(casemate.state().join("images/trees")).unwrap() {
        std::fs::remove_file(known.unwrap().path()).unwrap();
    }
    // The lock of those who write, and that of those who take images away.
    for lock in ["images", "images/trees"] {
        let store = std::fs::File::open(casemate.state().join(lock)).unwrap();
        rustix::fs::flock(&store, FlockOperation::LockExclusive).unwrap();
        let manager = units.manager(&["supervise", &file]);
        for _ in 0..3 {
            units.until_manager_says("WATCHDOG=1");
        }
        manager.signal(Signal::TERM);
        let ended = manager.finish();
        assert!(ended.stderr.contains("interrupted"), "{lock}: {ended:?}");
    }
    let manager = units.supervise(&file);
    casemate.run(&["down"]).expect(0);
    manager.finish().expect(0);
} }

services! { fn reload_removes_images_of_dropped_revisions(casemate, units) {
    let _helper = units.helper_ready();
    let images = ["first", "second", "third"].map(|name| {
        let rootfs = casemate.rootfs_with_probe(name);
        std::fs::write(rootfs.join("name"), name).unwrap();
        casemate.pack_directory(name, &rootfs, &["--entrypoint", "/probe"])
    });
    let put = |image: &str| {
        let sleeper = Container::new("a", image, 10_001).command(&["misbehave", "sleep"]);
        put(&casemate, &Spec::new([sleeper.set("stop_grace_period", "\"1s\"")]).head("[store]\nkeep = 1").without_limits())
    };
    let [first, second, third] = &images;
    let file = put(first);
    let manager = units.supervise(&file);
    put(second);
    reload(&units, &manager);
    let collected = |manager: &Up, image: &str| {
        poll::until("its word that it has collected", || {
            manager.stderr().contains(&format!("collected {image}: no kept revision uses them")).then_some(())
        });
        casemate.run(&["image", "inspect", image]).expect(2);
    };
    collected(&manager, first);
    // A long holder of the store lock delays nothing.
    let store = std::fs::File::open(casemate.state().join("images")).unwrap();
    rustix::fs::flock(&store, FlockOperation::LockExclusive).unwrap();
    put(third);
    reload(&units, &manager);
    poll::until("its word that it leaves it", || manager.stderr().contains("the store is locked by another process").then_some(()));
    units.until_manager_says("WATCHDOG=1");
    manager.signal(Signal::TERM);
    manager.finish().expect(0);
    drop(store);
    units.forget();
    let manager = units.supervise(&file);
    collected(&manager, second);
    casemate.run(&["store", "fsck"]).expect(0);
    casemate.run(&["down"]).expect(0);
    manager.finish().expect(0);
} }

services! { fn uid_is_reused_only_after_its_last_process_ended(casemate, units) {
    let _helper = units.helper_ready();
    let image = casemate.probe();
    let container = |name: &str, uid, words: &[&str]| {
        Container::new(name, &image, uid).command(words).set("stop_grace_period", "\"1s\"")
    };
    let deaf = |uid| container("deaf", uid, &["misbehave", "ignore-term"]);
    let file = put(&casemate, &Spec::new([deaf(10_001)]).without_limits());
    let manager = units.supervise(&file);
    let after = |stderr: &str, what: &str| {
        let from = stderr.rfind("deaf: ended by signal 9").unwrap_or_else(|| panic!("{stderr}"));
        assert!(stderr.find(what).is_some_and(|at| at > from), "{what:?} in {stderr}");
    };
    // Its user goes to a new container, by a reload; then to another one, while no manager runs.
    put(&casemate, &Spec::new([container("new", 10_001, &["misbehave", "sleep"]), deaf(10_002)]).without_limits());
    reload(&units, &manager);
    after(&manager.stderr(), "new: started");
    manager.signal(Signal::TERM);
    manager.finish().expect(0);
    put(&casemate, &Spec::new([container("newer", 10_002, &["misbehave", "sleep"]), deaf(10_003)]).without_limits());
    units.forget();
    let manager = units.supervise(&file);
    after(&manager.stderr(), "newer: started");
    casemate.run(&["down"]).expect(0);
    manager.finish().expect(0);
} }

services! { fn reload_of_an_invalid_file_changes_nothing(casemate, units) {
    let _helper = units.helper_ready();
    let image = casemate.probe();
    let sleeper = |name: &str, uid| Container::new(name, &image, uid).command(&["misbehave", "sleep"]);
    let good = || Spec::new([sleeper("first", 10_001)]).without_limits();
    let file = put(&casemate, &good());
    let manager = units.supervise(&file);
    let before = payload(&casemate, "sleep");
    let revision = || std::fs::read_link(casemate.state().join("revisions/current")).unwrap();
    let applied = revision();

    let profile = "default = \"errno\"\n";
    casemate.write("outside.toml", profile);
    let outside = format!(
        "{{ seccomp = {{ profile = \"{}/outside.toml\", sha256 = \"{:064}\" }} }}",
        casemate.directory().display(),
        0
    );
    let unknown = format!("localhost/x@sha256:{:064}", 0);
    for (container, words) in [
        (sleeper("second", 0).set("imagee", "1"), &["casemate.toml:", "user-root", "unknown-key"][..]),
        (Container::new("second", &unknown, 10_002), &["second", &unknown]),
        (
            sleeper("second", 10_002).set("security", &outside),
            &["outside.toml: Permission denied", "a restart, not a reload"],
        ),
        (
            sleeper("second", 10_002).set("logging", "{ driver = \"journald\" }"),
            &["journal/socket", "systemctl restart casemate.service"],
        ),
    ] {
        let length = manager.stderr().len();
        put(&casemate, &Spec::new([sleeper("first", 10_001), container]).without_limits());
        reload(&units, &manager);
        let refused = units.manager(&["reload"]).finish();
        assert!([3, 4, 5].contains(&refused.code) && refused.stderr.contains(words[0]), "{refused:?}");
        let reported = poll::until("its reasons", || {
            Some(manager.stderr().split_off(length))
                .filter(|reported| reported.contains("not applied; the containers run on unchanged"))
        });
        for word in words {
            assert!(reported.contains(word), "{word:?} in {reported}");
        }
        assert_eq!((payload(&casemate, "sleep"), revision()), (before.clone(), applied.clone()));
        assert!(!casemate.run(&["ps"]).expect(0).stdout.contains("second"));
    }

    // No file at all, and then the good one again.
    std::fs::remove_file(&file).unwrap();
    reload(&units, &manager);
    put(&casemate, &good());
    reload(&units, &manager);
    assert_eq!(payload(&casemate, "sleep"), before);
    casemate.run(&["down"]).expect(0);
    manager.finish().expect(0);
} }

services! { fn lines_and_manager_messages_reach_the_host_logs(casemate, mut units) {
    let [journal, syslog] = units.host_logs();
    let _helper = units.helper_ready();
    let image = casemate.probe();
    let container = |name: &str, uid, driver: &str| {
        let lines = Container::new(name, &image, uid).command(&["misbehave", "lines", "2"]);
        lines.set("logging", &format!("{{ driver = \"{driver}\" }}"))
    };
    let spec = |log: &str| {
        Spec::new([container("to-journal", 10_001, "journald"), container("to-syslog", 10_002, "syslog")])
            .without_limits()
            .appliance(&format!("log = \"{log}\""))
    };
    let file = put(&casemate, &spec("journald"));
    let manager = units.manager(&["supervise", &file]);
    // Containers start at the same time, so lines of both come in any order: those of an earlier question are kept.
    let mut received = [Vec::new(), Vec::new()];
    let mut until = |socket: &UnixDatagram, words: &[&str]| {
        let kept: &mut Vec<String> = &mut received[usize::from(std::ptr::eq(socket, &raw const journal))];
        poll::until(&format!("{words:?}"), || {
            kept.extend(std::iter::from_fn(|| receive(socket)));
            kept.iter().find(|line| words.iter().all(|word| line.contains(word))).cloned()
        })
    };
    // Ours are fields as they are of the containers, by the same words.
    let digest = &image[image.find("sha256:").unwrap()..];
    until(&journal, &["to-journal: started", "SYSLOG_IDENTIFIER\n\u{8}", "CASEMATE_CONTAINER\n\u{a}"]);
    until(&journal, &["line 1", "CASEMATE_CONTAINER", "to-journal", "CASEMATE_REVISION", "IMAGE_DIGEST", digest]);
    let line = until(&syslog, &["line 2"]);
    assert!(
        line.starts_with("<27>1 ") && line.contains(" to-syslog ") && line.contains("CASEMATE_CONTAINER=\"to-syslog\""),
        "{line}"
    );
    assert!(line.contains(&format!("IMAGE_DIGEST=\"{digest}\"")) && line.ends_with("] line 2"), "{line}");
    until(&journal, &["to-syslog: exited with 0"]);
    assert!(!manager.stderr().contains("started"), "{}", manager.stderr());

    // Where its own log goes is changed by a reload, if it can be reached.
    put(&casemate, &spec("syslog"));
    reload(&units, &manager);
    until(&syslog, &[" casemate ", "applied sha256:"]);
    casemate.run(&["down"]).expect(0);
    manager.finish().expect(0);
} }

services! { fn journal_has_each_line_once_across_a_manager_restart(casemate, mut units) {
    const LINES: usize = 8;
    let [journal, _syslog] = units.host_logs();
    let _helper = units.helper_ready();
    let writer = Container::new("writer", &casemate.probe(), 10_001).command(&["misbehave", "lines", "8", "100000"]);
    let file = put(&casemate, &Spec::new([writer.set("logging", "{ driver = \"journald\" }")]).without_limits());
    let manager = units.manager(&["supervise", &file]);
    let mut received = String::new();
    let mut until = |words: &[&str]| {
        poll::until(&format!("{words:?}"), || {
            received.extend(std::iter::from_fn(|| receive(&journal)));
            words.iter().all(|word| received.contains(word)).then(|| received.clone())
        })
    };
    until(&["line 1\n"]);
    manager.signal(Signal::TERM);
    manager.finish().expect(0);
    // The lines go to the journal as the file that was applied has it, before the next manager has applied one.
    let store = std::fs::File::open(casemate.state().join("images/trees")).unwrap();
    rustix::fs::flock(&store, FlockOperation::LockExclusive).unwrap();
    let _next = units.manager(&["supervise", &file]);
    let numbers: Vec<_> = (1..=LINES).map(|number| format!("line {number}\n")).collect();
    let received = until(&numbers.iter().map(String::as_str).collect::<Vec<_>>());
    for number in numbers {
        assert_eq!(received.matches(&number).count(), 1, "{number} in {received}");
    }
} }

services! { fn missing_setup_by_the_service_manager_is_an_error(casemate, units) {
    let refused = |up: Up, words: &str| {
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
} }
