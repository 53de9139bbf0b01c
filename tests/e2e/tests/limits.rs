//! Limits, hit on purpose: the payload meets them, the report says so, and the host stays as it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::{Container, Feature, Instance, Mode, Spec, Up, both_modes, cgroups, needs, poll};
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn limits(mode: Mode, test: &str) -> bool {
    needs(test, &[Feature::Limits(mode)])
}

/// The directory of container `name` in the hierarchy that has this file; the one with most of its processes inside.
fn cgroup_file(casemate: &Instance, container: &str, names: &[&str]) -> PathBuf {
    let payload =
        casemate.processes().into_iter().find(|process| process.arguments.iter().any(|word| word == "misbehave"));
    let pid = payload.expect("a payload that misbehaves").pid;
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    for hierarchy in cgroups::hierarchies() {
        for line in own.lines() {
            let path = line.splitn(3, ':').nth(2).unwrap().trim_start_matches('/');
            for name in names {
                let file = hierarchy.mount.join(path).join(name);
                if path.ends_with(&format!("c-{container}")) && file.exists() {
                    return file;
                }
            }
        }
    }
    panic!("no {names:?} for {container} in\n{own}");
}

fn number(path: &PathBuf) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn stop(mut up: Up) {
    up.signal(Signal::INT);
    up.wait(poll::PATIENCE);
}

both_modes! {
    fn threat_28_oom_kill_ends_the_container_and_is_reported(mode) {
        if !limits(mode, "threat_28_oom_kill_ends_the_container_and_is_reported") {
            return;
        }
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let container = Container::new("a", &image, 10_001).resource("memory", "\"48MiB\"").command(&["misbehave", "memory"]);
        let output = casemate.up_to_the_end(&Spec::new([container]));
        assert_eq!(output.code, 1, "{output:?}");
        let held = output.stdout.lines().filter_map(|line| line.split("holding ").nth(1)?.split(' ').next()?.parse::<u32>().ok());
        let most = held.max().unwrap_or(0);
        assert!((8..=48).contains(&most), "it held {most} MiB of 48");
        assert!(output.stderr.contains("over its memory limit"), "no message about the end: {output:?}");
    }

    fn threat_28_fork_bomb_stays_in_its_container(mode) {
        if !limits(mode, "threat_28_fork_bomb_stays_in_its_container") {
            return;
        }
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let container = Container::new("a", &image, 10_001).resource("pids", "20").command(&["misbehave", "forkbomb"]);
        let mut up = casemate.up(&Spec::new([container]));
        up.until_line("fork refused: EAGAIN");
        let count = || casemate.processes().iter().filter(|p| p.arguments.iter().any(|word| word == "forkbomb")).count();
        let most = (0..50).map(|_| count()).max().unwrap();
        assert!((2..=20).contains(&most), "{most} processes, of 20");
        // It handles no stop signal, so only SIGKILL ends it, with all its processes.
        let begin = Instant::now();
        stop(up);
        poll::until("the end of the bomb", || (count() == 0).then_some(()));
        assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
    }

    fn cpu_time_is_bounded_by_the_quota(mode) {
        if !limits(mode, "cpu_time_is_bounded_by_the_quota") {
            return;
        }
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let busy = |name: &str, uid, cpus: &str| Container::new(name, &image, uid).resource("cpus", cpus).command(&["misbehave", "spin", "1"]);
        // The payload says how much of one second of wall time it got.
        let output = casemate.up_to_the_end(&Spec::new([busy("a", 10_001, "0.2")])).expect(0);
        let share: u32 = output.stdout.split("spun: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!((10..=320).contains(&share), "{share} ms in a second, of 200");
    }

    fn cgroup_files_have_the_limits_of_the_file(mode) {
        if !limits(mode, "cgroup_files_have_the_limits_of_the_file") {
            return;
        }
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let container = Container::new("a", &image, 10_001)
            .resource("memory", "\"32MiB\"").resource("pids", "17").resource("cpus", "0.5").resource("cpuset", "\"0\"")
            .command(&["misbehave", "sleep"]);
        let mut up = casemate.up(&Spec::new([container]));
        up.until_line("sleeping");
        assert_eq!(number(&cgroup_file(&casemate, "a", &["memory.max", "memory.limit_in_bytes"])), 32 << 20);
        assert_eq!(number(&cgroup_file(&casemate, "a", &["pids.max"])), 17);
        let cpu = cgroup_file(&casemate, "a", &["cpu.max", "cpu.cfs_quota_us"]);
        let period = if cpu.ends_with("cpu.max") {
            fs::read_to_string(&cpu).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
        } else {
            number(&cpu.with_file_name("cpu.cfs_period_us"))
        };
        assert_eq!(number(&cpu) * 2, period);
        assert_eq!(fs::read_to_string(cgroup_file(&casemate, "a", &["cpuset.cpus"])).unwrap().trim(), "0");
        // No swap besides: v2 says 0, v1 counts both together.
        let swap = cgroup_file(&casemate, "a", &["memory.swap.max", "memory.memsw.limit_in_bytes", "memory.max", "memory.limit_in_bytes"]);
        if swap.ends_with("memory.swap.max") {
            assert_eq!(number(&swap), 0);
        } else {
            assert_eq!(number(&swap), 32 << 20);
        }
        stop(up);
    }

    fn cgroups_are_removed_at_the_end(mode) {
        if !limits(mode, "cgroups_are_removed_at_the_end") {
            return;
        }
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let mut up = casemate.up(&Spec::new([Container::new("gone-at-the-end", &image, 10_001).command(&["misbehave", "sleep"])]));
        up.until_line("sleeping");
        assert!(!cgroups::find("c-gone-at-the-end").is_empty());
        stop(up);
        poll::until("the end of its cgroups", || cgroups::find("c-gone-at-the-end").is_empty().then_some(()));
    }
}

#[test]
fn start_without_a_cgroup_is_refused_and_names_the_waiver() {
    let casemate = Instance::without_cgroup(Mode::User);
    if cgroups::own_is_delegated() && !needs("start_without_a_cgroup_is_refused_and_names_the_waiver", &[Feature::Root])
    {
        return;
    }
    let image = casemate.probe();
    let spec = Spec::new([Container::new("a", &image, 10_001).command(&["true"])]);
    let output = casemate.up_text(&spec.text()).finish();
    assert_eq!(output.code, 5, "{output:?}");
    for word in ["memory", "waivers"] {
        assert!(output.stderr.contains(word), "no {word:?}: {output:?}");
    }
    let output = casemate.up_text(&spec.without_limits().text()).finish();
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output.stderr.contains("limits") || output.stdout.contains("limits"),
        "the waiver is not spoken of: {output:?}"
    );
}
