//! kill -9 at random moments, many times: nothing is lost, nothing is left, nothing half done is ever used.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::{Container, Instance, Mode, Moments, Spec, Up, both_modes, host, oci, poll};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Numbers that differ from run to run and stand in a failure's message.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self(u64::from(now.subsec_nanos()) ^ now.as_secs() ^ u64::from(std::process::id()) << 32)
    }

    /// Up to this many milliseconds, in microseconds.
    fn pause(&mut self, most: u64) -> Duration {
        // xorshift: any sequence will do.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_micros(self.0 % (most * 1000))
    }
}

fn payload(casemate: &Instance, word: &str) -> Vec<i32> {
    let all = casemate.processes().into_iter();
    all.filter(|p| p.arguments.iter().any(|argument| argument == word)).map(|p| p.pid).collect()
}

fn kill_manager(casemate: &Instance, up: &mut Up) {
    up.signal(Signal::KILL);
    up.wait(poll::PATIENCE);
    // As root the one that was called and the one that supervises may be two.
    for manager in casemate.managers() {
        host::signal(manager.pid, Signal::KILL);
    }
    poll::until("the manager's end", || casemate.managers().is_empty().then_some(()));
}

both_modes! {
    fn restarted_manager_adopts_containers_and_loses_no_line(mode) {
        const LINES: u32 = 20_000;
        const KILLS: u32 = 25;
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let spec = Spec::new([
            Container::new("lines", &image, 10_001).command(&["misbehave", "lines", &LINES.to_string(), "300"])
                .set("logging", "{ max_size = \"8MiB\", max_file = 2 }"),
            Container::new("sleeper", &image, 10_002).command(&["misbehave", "sleep"]),
        ]);
        let mut dice = Dice::new();
        let mut up = casemate.up(&spec);
        up.until_line("sleeping");
        let before = poll::until("the sleeper", || payload(&casemate, "sleep").first().copied());
        let writer = payload(&casemate, "lines");
        let mut kills = 0;
        for _ in 0..KILLS {
            std::thread::sleep(dice.pause(150));
            kill_manager(&casemate, &mut up);
            kills += 1;
            assert_eq!(payload(&casemate, "sleep"), [before], "seed {}", dice.0);
            up = casemate.up(&spec);
            // Sometimes the new one is killed before it has done anything.
            if kills % 3 != 0 {
                poll::until("an answer of the new manager", || (casemate.run(&["ps"]).code == 0).then_some(()));
            }
        }
        assert!(writer == payload(&casemate, "lines") || payload(&casemate, "lines").is_empty(), "it was started again");
        poll::until("the last line", || {
            let output = casemate.run(&["logs", "lines"]);
            output.stderr.contains(&format!("line {LINES}\n")).then_some(())
        });
        let output = casemate.run(&["logs", "lines"]).expect(0);
        let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
        for line in output.stdout.lines().chain(output.stderr.lines()) {
            let number = line.strip_prefix("line ").unwrap_or_else(|| panic!("a torn line: {line:?}, seed {}", dice.0));
            *seen.entry(number.parse().unwrap()).or_default() += 1;
        }
        let wrong: Vec<_> = (1..=LINES).map(|n| (n, seen.get(&n).copied().unwrap_or(0))).filter(|(_, count)| *count != 1).collect();
        assert!(wrong.is_empty(), "lines and how often they are there: {wrong:?}");
        assert_eq!(payload(&casemate, "sleep"), [before]);
        casemate.run(&["down"]).expect(0);
        up.wait(poll::PATIENCE);
    }

    fn container_starts_after_the_removed_container_with_its_volume_ended(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let sleeper = |name, uid| Spec::new([Container::new(name, &image, uid).command(&["misbehave", "sleep"])]);
        let mut up = casemate.up(&sleeper("old", 10_001));
        up.until_line("sleeping");
        kill_manager(&casemate, &mut up);
        // Nothing else happens that the manager could wake up from.
        let mut up = casemate.up(&sleeper("new", 10_002));
        up.until_line("not in the file any more: stopping");
        up.until_line("sleeping");
        casemate.run(&["down"]).expect(0);
        up.wait(poll::PATIENCE);
    }

    fn containers_end_with_a_killed_helper_and_the_next_start_is_clean(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let sleeper = |name: &str, uid| Container::new(name, &image, uid).command(&["misbehave", "sleep"]);
        let spec = Spec::new([sleeper("a", 10_001), sleeper("b", 10_002)]);
        let mut dice = Dice::new();
        for round in 0..10 {
            let mut up = casemate.up(&spec);
            // Early rounds kill while it is still starting.
            let helpers = if round < 5 {
                std::thread::sleep(dice.pause(80));
                casemate.helpers()
            } else {
                up.until_line("sleeping");
                casemate.helpers()
            };
            let family = casemate.processes();
            // By turns the one outside and the one in A.
            if let Some(helper) = helpers.get(round % helpers.len().max(1)) {
                host::signal(helper.pid, Signal::KILL);
            }
            let managers: Vec<i32> = casemate.managers().iter().map(|p| p.pid).collect();
            let left = |old: &&host::Process| {
                let now = host::Process::of(old.pid);
                !managers.contains(&old.pid) && old.pid != up.pid()
                    && now.is_some_and(|now| now.state != 'Z' && now.arguments == old.arguments)
            };
            let gone = poll::within(poll::PATIENCE, || (helpers.is_empty() || !family.iter().any(|old| left(&old))).then_some(()));
            // What it waits for says more than that it is there.
            let why = |old: &host::Process| (old.clone(), fs::read_to_string(format!("/proc/{}/stack", old.pid)));
            assert!(gone.is_some(), "round {round}, helpers {helpers:?}: {:?}", family.iter().filter(left).map(why).collect::<Vec<_>>());
            // Whether the manager gives up or starts a new helper is its matter; it must not hang.
            up.signal(Signal::INT);
            up.wait(poll::PATIENCE);
            casemate.end();
        }
        let mut up = casemate.up(&spec);
        poll::until("both to sleep", || (up.stdout().matches("sleeping").count() == 2).then_some(()));
        assert!(host::mounts_of(casemate.directory()).is_empty());
        up.signal(Signal::INT);
        up.wait(poll::PATIENCE);
    }

    fn import_killed_at_any_moment_leaves_a_usable_store(mode) {
        let casemate = Instance::new(mode);
        let (layout, digest) = large_image(&casemate);
        let layout = layout.to_str().unwrap();
        let mut moments = Moments::new(15, Duration::from_millis(300));
        while let Some(moment) = moments.take() {
            let import = Up::start(casemate.command(&["image", "import", layout, "--name", "large"]));
            let ended = moments.kill(moment, &casemate, import).code == 0;
            if moment.round % 5 == 4 {
                casemate.run(&["image", "ls"]).expect(0);
            }
            if ended {
                // What is already in the store takes no time any more; begin again.
                casemate.run(&["image", "rm", &digest]).expect(0);
            }
        }
        casemate.run(&["image", "import", layout, "--name", "large"]).expect(0);
        let image = format!("localhost/large@{digest}");
        let output = casemate.up_to_the_end(&Spec::new([
            Container::new("a", &image, 10_001).command(&["misbehave", "find", "/files/dir-19/file-19"]),
            Container::new("b", &image, 10_002).command(&["true"]),
        ])).expect(0);
        assert!(output.stdout.contains("find: worked"), "{output:?}");
        // Work in progress of the killed ones is gone.
        if let Ok(entries) = fs::read_dir(casemate.state().join("layers/tmp")) {
            assert_eq!(entries.count(), 0, "half layers are left");
        }
    }
}

/// A layout with some thousand files in two layers: enough to be killed in.
fn large_image(casemate: &Instance) -> (std::path::PathBuf, String) {
    let rootfs = casemate.rootfs_with_probe("large");
    for directory in 0..20 {
        let path = rootfs.join(format!("files/dir-{directory}"));
        fs::create_dir_all(&path).unwrap();
        for file in 0..100 {
            fs::write(path.join(format!("file-{file}")), vec![b'x'; 20_000]).unwrap();
        }
    }
    let upper = casemate.scratch("large-upper");
    fs::create_dir(upper.join("more")).unwrap();
    for file in 0..300 {
        fs::write(upper.join(format!("more/file-{file}")), vec![b'y'; 5000]).unwrap();
    }
    let layout = casemate.scratch("large-layout");
    let layers = [oci::layer_of(&rootfs), oci::layer_of(&upper)];
    let digest = oci::layout(&layout, &layers, &json!({ "Entrypoint": ["/probe"] }));
    (layout, digest)
}

#[test]
fn helper_without_descriptors_refuses_connections_and_keeps_running() {
    Mode::Root.run("helper_without_descriptors_refuses_connections_and_keeps_running", |mode| {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let container = Container::new("a", &image, 10_001).set("ulimits", "{ nofile = 44 }");
        let spec = Spec::new([container.command(&["misbehave", "sleep"])]);
        let inner = casemate.command(&["up", &casemate.write("few.toml", &casemate.text_of(&spec))]);
        let mut few = Command::new("/bin/bash");
        few.args(["-c", "ulimit -n 44; exec \"$@\"", "bash"]).arg(inner.get_program()).args(inner.get_args());
        let mut up = Up::start(few);
        up.until_line("sleeping");
        // They connect, and then wait for the store.
        let store = fs::File::open(casemate.state().join("images")).unwrap();
        store.lock().unwrap();
        let verb =
            || casemate.command(&["image", "rm", "nothing"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut verbs: Vec<_> = (0..30).map(|_| verb()).collect();
        poll::until("one that is turned away", || {
            verbs.iter_mut().any(|verb| verb.try_wait().unwrap().is_some()).then_some(())
        });
        assert_eq!(payload(&casemate, "sleep").len(), 1);
        drop(store);
        for verb in &mut verbs {
            verb.wait().unwrap();
        }
        assert!(casemate.run(&["image", "rm", "nothing"]).stderr.contains("no image"));
        up.signal(Signal::INT);
        up.finish().expect(0);
    });
}
