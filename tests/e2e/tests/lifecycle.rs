//! Life and death of containers: verbs, signals, restarts, exit codes, logs and their bounds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::{Container, Feature, Instance, Mode, Spec, Up, both_modes, needs, place, poll};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

fn container(name: &str, image: &str, uid: u32, words: &[&str]) -> Container {
    let mut all = vec!["misbehave"];
    all.extend(words);
    Container::new(name, image, uid).command(&all)
}

/// The line of `ps` for this container.
fn ps(casemate: &Instance, name: &str) -> Option<String> {
    let output = casemate.run(&["ps"]);
    output.stdout.lines().find(|line| line.split_whitespace().next() == Some(name)).map(str::to_owned)
}

fn until_state(casemate: &Instance, name: &str, state: &str) {
    poll::until(&format!("{name} to be {state}"), || {
        ps(casemate, name).is_some_and(|line| line.contains(state)).then_some(())
    });
}

/// The host's ids of the payloads, by a word of their command line.
fn payloads(casemate: &Instance, word: &str) -> Vec<i32> {
    let all = casemate.processes().into_iter();
    all.filter(|process| process.arguments.iter().any(|argument| argument == word)).map(|process| process.pid).collect()
}

fn interrupted(mut up: Up) -> casemate_e2e::Output {
    up.signal(Signal::INT);
    up.wait(poll::PATIENCE)
}

both_modes! {
    fn up_exits_with_1_if_a_container_failed(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let spec = |code: &str| Spec::new([
            Container::new("good", &image, 10_001).command(&["true"]),
            container("other", &image, 10_002, &["exit", code]),
        ]);
        casemate.up_to_the_end(&spec("0")).expect(0);
        let output = casemate.up_to_the_end(&spec("7")).expect(1);
        assert!(output.stderr.contains("casemate: other: exited with 7\n"), "{output:?}");
    }

    fn output_lines_start_with_the_container_name(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let output = casemate.up_to_the_end(&Spec::new([
            container("one", &image, 10_001, &["lines", "20"]),
            container("two", &image, 10_002, &["lines", "20"]),
        ])).expect(0);
        for name in ["one", "two"] {
            for number in 1..=20 {
                let line = format!("{name} | line {number}");
                // The payload writes odd numbers to its standard output, even ones to its standard error.
                let stream = if number % 2 == 1 { &output.stdout } else { &output.stderr };
                assert_eq!(stream.lines().filter(|there| *there == line).count(), 1, "{line}: {output:?}");
            }
        }
    }

    fn ps_shows_running_and_ended_containers(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([
            container("runs", &image, 10_001, &["sleep"]),
            container("ended", &image, 10_002, &["exit", "3"]),
        ]));
        up.until_line("sleeping");
        until_state(&casemate, "runs", "running");
        until_state(&casemate, "ended", "exited");
        assert!(ps(&casemate, "ended").unwrap().contains('3'), "{:?}", ps(&casemate, "ended"));
        interrupted(up);
    }

    fn logs_prints_all_lines_the_last_or_those_since_a_time(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let up = casemate.up(&Spec::new([container("a", &image, 10_001, &["lines", "100"])]));
        up.finish().expect(0);
        // The logs outlive the manager.
        let all = casemate.run(&["logs", "a"]).expect(0);
        assert_eq!(all.stdout.lines().count(), 50, "{all:?}");
        assert_eq!(all.stderr.lines().count(), 50, "{all:?}");
        assert_eq!(all.stdout.lines().next(), Some("line 1"));
        let tail = casemate.run(&["logs", "a", "--tail", "4"]).expect(0);
        // The order between the two pipes is undefined; the last lines of each are the last.
        assert_eq!(tail.stdout.lines().count() + tail.stderr.lines().count(), 4, "{tail:?}");
        assert!(all.stdout.ends_with(&tail.stdout) && all.stderr.ends_with(&tail.stderr), "{tail:?}");
        let none = casemate.run(&["logs", "a", "--since", "2099-01-01T00:00:00Z"]).expect(0);
        assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", ""));
        let since = casemate.run(&["logs", "a", "--since", "2020-01-01T00:00:00Z"]).expect(0);
        assert_eq!(since.stdout, all.stdout);
        assert_eq!(casemate.run(&["logs", "nobody"]).code, 2);
    }

    fn logs_follow_ends_with_the_container(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([
            container("a", &image, 10_001, &["lines", "200", "5000"]),
            container("b", &image, 10_002, &["sleep"]),
        ]));
        up.until_line("line 1");
        let mut follow = Up::start(casemate.command(&["logs", "a", "-f"]));
        follow.until_line("line 199");
        let lines = follow.stdout();
        for number in (1..200).step_by(2) {
            assert_eq!(lines.lines().filter(|line| *line == format!("line {number}")).count(), 1, "line {number}");
        }
        drop(follow);
        interrupted(up);
    }

    fn stop_start_and_restart_change_the_state(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let always = |name: &str, uid| container(name, &image, uid, &["sleep"]).set("restart", "\"always\"");
        let mut up = casemate.up(&Spec::new([always("a", 10_001), always("b", 10_002)]));
        up.until_line("sleeping");
        until_state(&casemate, "a", "running");
        until_state(&casemate, "b", "running");
        casemate.run(&["stop", "a"]).expect(0);
        // Stopped is stopped, whatever the policy says.
        until_state(&casemate, "a", "stopped");
        assert_eq!(payloads(&casemate, "sleep").len(), 1);
        casemate.run(&["start", "a"]).expect(0);
        until_state(&casemate, "a", "running");
        let before = payloads(&casemate, "sleep");
        assert_eq!(before.len(), 2);
        casemate.run(&["restart", "b"]).expect(0);
        until_state(&casemate, "b", "running");
        let after = payloads(&casemate, "sleep");
        assert_eq!(after.len(), 2);
        assert_eq!(after.iter().filter(|pid| before.contains(pid)).count(), 1, "{before:?} {after:?}");
        for verb in ["stop", "start", "restart", "wait"] {
            assert_eq!(casemate.run(&[verb, "nobody"]).code, 2, "{verb}");
        }
        interrupted(up);
    }

    fn wait_prints_the_exit_code(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([
            container("a", &image, 10_001, &["sleep", "2"]),
            container("b", &image, 10_002, &["sleep"]),
            container("c", &image, 10_003, &["exit", "9"]),
        ]));
        up.until_line("sleeping");
        assert_eq!(casemate.run(&["wait", "a"]).expect(0).stdout, "a 0\n");
        assert_eq!(casemate.run(&["wait", "c", "a"]).expect(1).stdout, "c 9\na 0\n");
        interrupted(up);
    }

    fn down_stops_all_containers_and_the_manager(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([
            container("a", &image, 10_001, &["sleep"]).set("restart", "\"always\""),
            container("b", &image, 10_002, &["sleep"]),
        ]));
        up.until_line("sleeping");
        until_state(&casemate, "b", "running");
        let refused = casemate.run(&["reload"]).expect(2);
        assert!(refused.stderr.contains("`casemate up` does not reload its file"), "{refused:?}");
        casemate.run(&["down"]).expect(0);
        up.wait(poll::PATIENCE);
        poll::until("the end of all programs", || casemate.processes().is_empty().then_some(()));
        assert_ne!(casemate.run(&["ps"]).code, 0, "ps without a manager");
    }

    fn first_sigint_stops_containers_in_reverse_order(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([
            container("first", &image, 10_001, &["sleep"]),
            container("second", &image, 10_002, &["sleep"]),
        ]));
        until_state(&casemate, "first", "running");
        until_state(&casemate, "second", "running");
        poll::until("both to sleep", || (up.stdout().matches("sleeping").count() == 2).then_some(()));
        let begin = Instant::now();
        up.signal(Signal::INT);
        let output = up.wait(poll::PATIENCE);
        assert!(begin.elapsed() < Duration::from_secs(8), "no container ignored the signal, but it took {:?}", begin.elapsed());
        let position = |text: &str| output.stderr.find(text).unwrap_or_else(|| panic!("no {text:?}: {output:?}"));
        // Output on the terminal: the signal, and the order.
        assert!(position("second Ctrl-C kills") < position("casemate: second: exited"), "{output:?}");
        assert!(position("casemate: second: exited") < position("casemate: first: exited"), "{output:?}");
        poll::until("the end of all programs", || casemate.processes().is_empty().then_some(()));
    }

    fn container_that_ignores_the_stop_signal_is_killed_after_the_grace_period(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([container("a", &image, 10_001, &["ignore-term"]).set("stop_grace_period", "\"2s\"")]));
        up.until_line("ignoring");
        let begin = Instant::now();
        up.signal(Signal::INT);
        up.wait(poll::PATIENCE);
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(1900) && took < Duration::from_secs(15), "{took:?} of 2 s");
    }

    fn second_sigint_kills_all_containers(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([container("a", &image, 10_001, &["ignore-term"]).set("stop_grace_period", "\"5m\"")]));
        up.until_line("ignoring");
        up.signal(Signal::INT);
        // The first has been seen when the container is being stopped.
        poll::until("the first to be seen", || ps(&casemate, "a").is_none_or(|line| !line.contains("running")).then_some(()));
        assert!(!up.has_ended());
        let begin = Instant::now();
        up.signal(Signal::INT);
        up.wait(poll::PATIENCE);
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    }

    fn closed_terminal_stops_containers_with_their_grace_period(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([container("a", &image, 10_001, &["ignore-term"]).set("stop_grace_period", "\"3s\"")]));
        up.until_line("ignoring");
        let begin = Instant::now();
        up.signal(Signal::HUP);
        poll::until("the first to be seen", || ps(&casemate, "a").is_none_or(|line| !line.contains("running")).then_some(()));
        // The kernel says it to the foreground, and the shell to its jobs.
        up.signal(Signal::HUP);
        up.wait(poll::PATIENCE);
        assert!(begin.elapsed() >= Duration::from_millis(2900), "killed after {:?} of 3 s", begin.elapsed());
    }

    fn stop_sends_the_signal_of_the_file(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        // SIGINT ends this payload well; it ignores SIGHUP only as pid 1 does.
        let mut up = casemate.up(&Spec::new([
            container("a", &image, 10_001, &["sleep"]).set("stop_signal", "\"SIGHUP\"").set("stop_grace_period", "\"1s\""),
            container("b", &image, 10_002, &["sleep"]).set("stop_signal", "\"SIGINT\"").set("stop_grace_period", "\"5m\""),
        ]));
        poll::until("both to sleep", || (up.stdout().matches("sleeping").count() == 2).then_some(()));
        casemate.run(&["stop", "b"]).expect(0);
        assert!(!ps(&casemate, "b").unwrap().contains("137"), "{:?}", ps(&casemate, "b"));
        casemate.run(&["stop", "a"]).expect(0);
        assert!(ps(&casemate, "a").unwrap().contains("137"), "{:?}", ps(&casemate, "a"));
        // What was stopped can be started again, so the manager stays.
        assert!(!up.has_ended());
        casemate.run(&["down"]).expect(0);
        up.wait(poll::PATIENCE);
    }

    fn threat_28_crash_loop_backs_off_and_ends(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let policy = "{ policy = \"on-failure\", max_retries = 3, delay = \"200ms\", max_delay = \"1s\", window = \"1m\" }";
        let begin = Instant::now();
        let output = casemate.up_to_the_end(&Spec::new([container("a", &image, 10_001, &["exit", "5"]).set("restart", policy)])).expect(1);
        // 200, 400 and 800 ms.
        assert!(begin.elapsed() >= Duration::from_millis(1400), "{:?}: {output:?}", begin.elapsed());
        assert!(output.stderr.contains("restart") || output.stdout.contains("restart"), "{output:?}");
    }

    fn restart_policies_depend_on_the_exit_code(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let quick = |policy: &str| format!("{{ policy = \"{policy}\", max_retries = 2, delay = \"10ms\", max_delay = \"20ms\" }}");
        let runs = |output: &casemate_e2e::Output| output.stdout.matches("mark: ").count();
        let marks = |policy: &str| {
            let spec = Spec::new([container("a", &image, 10_001, &["mark", "/tmp"]).set("restart", &quick(policy))]);
            casemate.up_to_the_end(&spec)
        };
        assert_eq!(runs(&marks("no")), 1);
        // It ends with 0: no failure.
        assert_eq!(runs(&marks("on-failure")), 1);
        // Once, and two more.
        assert_eq!(runs(&marks("always")), 3);
    }

    fn threat_28_logs_are_bounded_in_size_and_number(mode) {
        let name = "threat_28_logs_are_bounded_in_size_and_number";
        if mode == Mode::User && !needs(name, &[Feature::Root]) {
            return;
        }
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let spec = Spec::new([container("a", &image, 10_001, &["flood", "3000000"])
            .set("logging", "{ max_size = \"256KiB\", max_file = 3 }")]);
        let file = casemate.write("casemate.toml", &casemate.text_of(&spec));
        casemate_e2e::finish(casemate.in_cgroup(&["up", &file]), poll::PATIENCE).expect(0);
        let logs = casemate.state().join("logs/a");
        let sizes: Vec<u64> = fs::read_dir(&logs).unwrap().flatten().map(|entry| entry.metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), 3, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size <= 256 << 10), "{sizes:?}");
        let kept = casemate.run(&["logs", "a"]).expect(0);
        assert!(kept.stdout.len() > 256 << 10, "{} bytes are kept", kept.stdout.len());
    }

    fn threat_28_unwritable_log_does_not_block_a_stop(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let quiet = container("a", &image, 10_001, &["sleep"]);
        let loud = container("b", &image, 10_002, &["flood"]).set("logging", "{ max_size = \"64KiB\", max_file = 2 }");
        let mut up = casemate.up(&Spec::new([quiet, loud]));
        up.until_line("flood");
        // As on a full disk: there will be no next file.
        let logs = casemate.state().join("logs/b");
        fs::set_permissions(&logs, fs::Permissions::from_mode(0o500)).unwrap();
        up.until_line("cannot write its log");
        casemate.run(&["down"]).expect(0);
        let output = up.wait(poll::PATIENCE);
        assert!(output.stderr.contains("b: cannot write its log: its last output is lost"), "{}", output.stderr);
        fs::set_permissions(&logs, fs::Permissions::from_mode(0o700)).unwrap();
    }

    fn threat_28_flood_of_one_container_does_not_block_others(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([
            container("flood", &image, 10_001, &["flood"]).set("logging", "{ max_size = \"64KiB\", max_file = 2 }"),
            container("quiet", &image, 10_002, &["lines", "100", "1000"]),
        ]));
        // It is the log that has to have all of them; what `up` prints is for the eye.
        poll::until("the last line", || {
            let output = casemate.run(&["logs", "quiet"]);
            (output.stdout.lines().count() + output.stderr.lines().count() == 100).then_some(())
        });
        let manager = casemate.managers();
        let memory: u64 = manager[0].field("VmRSS").split_whitespace().next().unwrap().parse().unwrap();
        assert!(memory < 64 << 10, "the manager holds {memory} KiB");
        up.signal(Signal::INT);
        up.signal(Signal::INT);
        up.wait(poll::PATIENCE);
    }

    fn volumes_outlive_the_container_and_tmpfs_mounts_do_not(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let volumes = "[{ type = \"volume\", source = \"v\", target = \"/kept\" }]";
        let once = |words: &[&str]| {
            let container = container("a", &image, 10_001, words).set("volumes", volumes).set("tmpfs", "[\"/lost:size=1MiB\"]");
            casemate.up_to_the_end(&Spec::new([container]).head("[volumes.v]"))
        };
        for directory in ["/kept", "/lost"] {
            assert!(once(&["mark", directory]).expect(0).stdout.contains("mark: worked"));
        }
        assert!(once(&["find", "/kept/mark"]).expect(0).stdout.contains("find: worked"));
        assert!(once(&["find", "/lost/mark"]).expect(0).stdout.contains("find: ENOENT"));
    }

    fn failed_start_names_the_step_and_does_not_affect_others(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([
            Container::new("bad", &image, 10_001).entrypoint(&["/no/such/program"]),
            container("good", &image, 10_002, &["sleep"]),
        ]));
        up.until_line("sleeping");
        poll::until("a word about bad", || up.stderr().contains("/no/such/program").then_some(()));
        until_state(&casemate, "good", "running");
        let output = interrupted(up);
        assert_eq!(output.code, 1, "{output:?}");
    }

    fn two_instances_run_side_by_side(mode) {
        let one = Instance::new(mode);
        let two = Instance::new(mode);
        let up = |casemate: &Instance| {
            let image = casemate.probe();
            let mut up = casemate.up(&Spec::new([container("a", &image, 10_001, &["sleep"])]));
            up.until_line("sleeping");
            up
        };
        let first = up(&one);
        let second = up(&two);
        one.run(&["down"]).expect(0);
        assert_eq!(payloads(&two, "sleep").len(), 1);
        until_state(&two, "a", "running");
        drop(first);
        interrupted(second);
    }

    fn second_up_of_an_instance_is_refused(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let spec = Spec::new([container("a", &image, 10_001, &["sleep"])]);
        let mut up = casemate.up(&spec);
        up.until_line("sleeping");
        let output = casemate.up(&spec).finish();
        assert_eq!(output.code, 1, "{output:?}");
        // Nor with another run directory: its helper would not know what the first one's containers stand on.
        let mut other = mode.command(place::program("casemate"));
        other.env("HOME", casemate.directory()).args(["up", &casemate.write("other.toml", &casemate.text_of(&spec))]);
        other.arg("--state-dir").arg(casemate.state()).arg("--run-dir").arg(casemate.directory().join("run-other"));
        let output = casemate_e2e::finish(other, poll::PATIENCE);
        assert!(output.code == 1 && output.stderr.contains("--state-dir"), "{output:?}");
        until_state(&casemate, "a", "running");
        interrupted(up);
    }
}
