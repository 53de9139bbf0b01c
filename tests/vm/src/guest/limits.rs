//! Limits of cgroup v2 under a real systemd: met on purpose by the payload, and read where the kernel counts.

use super::appliance::{
    anchor, apply, cgroup, container, journal, output_of, probe, run, status, until_output, until_state,
};
use super::run::note;
use super::wait::until;
use casemate_e2e::{Spec, host::Process, poll};
use std::fs;
use std::time::{Duration, Instant};

const UID: u32 = 10_001;

/// The payload's number behind this word.
fn number(output: &str, word: &str) -> u64 {
    let rest = output.split(word).nth(1).unwrap_or_else(|| panic!("no {word:?} in {output:?}"));
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// A file of a container's cgroup.
fn file(name: &str, file: &str) -> String {
    let path = cgroup(name).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// The kernel has what the file says, in a cgroup below the delegated one.
pub fn stand_in_the_kernel() {
    let image = probe();
    let sleeper = container("a", &image, UID, &["misbehave", "sleep"])
        .resource("memory", "\"32MiB\"")
        .resource("memory_high", "\"24MiB\"")
        .resource("pids", "17")
        .resource("cpus", "0.5")
        .resource("cpu_weight", "250")
        .resource("cpuset", "\"1\"")
        .resource("io", "[{ device = \"/dev/vdc\", read_bps = \"8MiB\", write_iops = 100 }]");
    run(&image, [sleeper]);
    until_output("a", "sleeping");
    for (name, value) in [
        ("memory.max", "33554432"),
        ("memory.high", "25165824"),
        ("memory.swap.max", "0"),
        ("memory.oom.group", "1"),
        ("pids.max", "17"),
        ("cpu.max", "50000 100000"),
        ("cpu.weight", "250"),
        ("cpuset.cpus.effective", "1"),
    ] {
        assert_eq!(file("a", name), value, "{name}");
    }
    let process = Process::of(status("a").pid.unwrap()).unwrap();
    assert_eq!(process.field("Cpus_allowed_list"), "1");
    let io = file("a", "io.max");
    assert!(io.contains("rbps=8388608 wbps=max riops=max wiops=100"), "{io}");
}

/// One process above the memory limit ends the whole container, and the reason is logged.
pub fn memory_kills_the_whole_container() {
    let image = probe();
    let hog = container("hog", &image, UID, &["misbehave", "memory-beside"]).resource("memory", "\"48MiB\"");
    run(&image, [hog]);
    let ended = until_state("hog", "exited");
    assert_eq!(ended.exit_code, Some(137), "{ended:?}");
    // Both: the one that grew, and the one that did nothing.
    assert!(ended.oom_kills >= Some(2), "{ended:?}");
    let output = output_of("hog");
    assert!(!output.contains("survived"), "{output}");
    let journal = journal();
    assert!(journal.contains("over its memory limit"), "no message about the end:\n{journal}");
}

/// Above memory.high a container is slowed down and not killed.
pub fn memory_high_slows_down() {
    let image = probe();
    let hog = container("slow", &image, UID, &["misbehave", "memory"])
        .resource("memory", "\"96MiB\"")
        .resource("memory_high", "\"16MiB\"");
    run(&image, [hog]);
    let events = || number(&file("slow", "memory.events"), "high ");
    until("the kernel to hold it back", || (events() > 0).then_some(()));
    let current: u64 = file("slow", "memory.current").parse().unwrap();
    assert!(current < 96 << 20, "{current} bytes");
    let status = until_state("slow", "running");
    assert_eq!(status.oom_kills.unwrap_or(0), 0, "{status:?}");
}

/// A fork bomb gets as many processes as the file gives it; the host goes on.
pub fn pids_hold_a_fork_bomb() {
    let image = probe();
    run(&image, [container("bomb", &image, UID, &["misbehave", "forkbomb"]).resource("pids", "20")]);
    until_output("bomb", "fork refused: EAGAIN");
    assert_eq!(file("bomb", "pids.max"), "20");
    let most = poll::within(Duration::from_secs(2), || {
        let now: u64 = file("bomb", "pids.current").parse().unwrap();
        (now > 20).then_some(now)
    });
    assert_eq!(most, None);
    assert!(number(&file("bomb", "pids.events"), "max ") > 0);
}

/// Four tenths of a CPU are not more.
pub fn cpu_quota_is_kept() {
    let image = probe();
    run(&image, [container("spin", &image, UID, &["misbehave", "spin", "600"]).resource("cpus", "0.4")]);
    let [share] = shares(["spin"]);
    note(format!("cpus = 0.4: {share} ms a second"));
    // Without the quota it would be 1000. How little it is says how busy the machine is that emulates this one.
    assert!(share < 600, "{share} ms a second, of 400");
    assert!(number(&file("spin", "cpu.stat"), "nr_throttled ") > 0);
}

/// Of one CPU that two want all the time, weight 300 gets three times what weight 100 gets.
pub fn cpu_weight_is_kept() {
    let image = probe();
    let spin = |name: &str, uid, weight: &str| {
        let container = container(name, &image, uid, &["misbehave", "spin", "600"]);
        container.resource("cpuset", "\"1\"").resource("cpu_weight", weight)
    };
    run(&image, [spin("light", UID, "100"), spin("heavy", UID + 1, "300")]);
    let [light, heavy] = shares(["light", "heavy"]);
    note(format!("one CPU, weights 100 and 300: {light} and {heavy} ms a second"));
    assert!((20..45).contains(&(heavy * 10 / light.max(1))), "{light} and {heavy} ms a second");
}

/// How many milliseconds of CPU time containers that compute get in a second, all running.
fn shares<const N: usize>(names: [&str; N]) -> [u64; N] {
    for name in names {
        until_state(name, "running");
    }
    let files = names.map(|name| cgroup(name).join("cpu.stat"));
    let used = || files.each_ref().map(|file| number(&fs::read_to_string(file).unwrap(), "usage_usec "));
    // All of them are past their start.
    until("all to compute", || used().iter().all(|used| *used > 200_000).then_some(()));
    let begin = Instant::now();
    let before = used();
    std::thread::sleep(Duration::from_secs(5));
    let after = used();
    let time = u64::try_from(begin.elapsed().as_millis()).unwrap();
    std::array::from_fn(|n| (after[n] - before[n]) / time)
}

/// What a container writes to the disk it writes no faster than it may.
pub fn io_max_is_kept() {
    let image = probe();
    let volume = "[{ type = \"volume\", source = \"data\", target = \"/data\" }]";
    let writer = container("writer", &image, UID, &["misbehave", "write", "/data", "8"])
        .set("volumes", volume)
        .resource("io", "[{ device = \"/dev/vdc\", write_bps = \"2MiB\" }]");
    apply(&Spec::new([writer, anchor(&image)]).head("[volumes.data]"));
    let took = number(&until_output("writer", "wrote in "), "wrote in ");
    note(format!("8 MiB to the disk at 2 MiB a second: {took} ms"));
    // It takes a tenth of this where nothing holds it back. The kernel lets the first moment's writes pass.
    assert!(took > 2500, "{took} ms");
}
