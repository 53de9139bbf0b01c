//! Managers and helpers of different versions, with containers that run: the next manager lists them, takes them over, logs every
//! line exactly once, and stops them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_e2e::versions::{Fields, FirstClient, Played, play, recorded};
use casemate_e2e::{Container, Instance, Output, Spec, Up, both_modes, host, poll};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::time::Duration;

const LINES: u32 = 4_000;

/// `web` writes numbered lines, then sleeps; `sleeper` only sleeps.
fn containers(image: &str) -> Vec<Container> {
    let web = Container::new("web", image, 10_001).command(&["misbehave", "lines", &LINES.to_string(), "500"]);
    vec![web, sleeper("sleeper", image, 10_002)]
}

fn sleeper(name: &str, image: &str, user: u32) -> Container {
    Container::new(name, image, user).command(&["misbehave", "sleep"])
}

fn payload(casemate: &Instance, word: &str) -> Vec<i32> {
    let all = casemate.processes().into_iter();
    all.filter(|p| p.arguments.iter().any(|argument| argument == word)).map(|p| p.pid).collect()
}

fn kill_manager(casemate: &Instance, up: &mut Up) {
    up.signal(Signal::KILL);
    up.wait(poll::PATIENCE);
    for manager in casemate.managers() {
        host::signal(manager.pid, Signal::KILL);
    }
    poll::until("the manager's end", || casemate.managers().is_empty().then_some(()));
}

/// Counts each line of these texts. Other text is a failure.
fn count<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<u32, u32> {
    let mut seen = BTreeMap::new();
    for line in texts.into_iter().flat_map(str::lines) {
        let number = line.strip_prefix("line ").unwrap_or_else(|| panic!("a torn line: {line:?}"));
        *seen.entry(number.parse().unwrap()).or_default() += 1;
    }
    seen
}

/// Asserts that every line up to the last one occurs exactly once.
fn assert_each_once(seen: &BTreeMap<u32, u32>) {
    let last = seen.keys().last().copied().unwrap_or_default();
    let wrong: Vec<_> = (1..=last).filter(|number| seen.get(number) != Some(&1)).collect();
    assert!(wrong.is_empty(), "of {last} lines these are not there exactly once: {wrong:?}");
}

/// Kills a manager while lines are written; the next one finds a helper of another version.
fn follow(casemate: &Instance, played: Played, while_running: impl FnOnce(&Instance)) {
    let spec = Spec::new(containers(&casemate.probe()));
    let mut up = casemate.up(&spec);
    up.until_line("sleeping");
    let sleeper = payload(casemate, "sleep");
    let web = payload(casemate, "lines");
    assert_eq!((sleeper.len(), web.len()), (1, 1));
    kill_manager(casemate, &mut up);
    play(casemate, played);
    let mut up = casemate.up(&spec);
    // List and take over.
    poll::until("an answer of the new manager", || {
        let ps = casemate.run(&["ps"]);
        (ps.code == 0 && ps.stdout.contains("web") && ps.stdout.contains("sleeper")).then_some(())
    });
    assert_eq!(
        (payload(casemate, "sleep"), payload(casemate, "lines")),
        (sleeper.clone(), web),
        "taken over as they are"
    );
    while_running(casemate);
    // Logs.
    poll::until("the last line", || {
        casemate.run(&["logs", "web"]).stderr.contains(&format!("line {LINES}\n")).then_some(())
    });
    let logs = casemate.run(&["logs", "web"]).expect(0);
    assert_each_once(&count([logs.stdout.as_str(), logs.stderr.as_str()]));
    assert_eq!(payload(casemate, "sleep"), sleeper);
    // Stop.
    casemate.run(&["down"]).expect(0);
    up.wait(poll::PATIENCE);
    assert!(payload(casemate, "sleep").is_empty());
}

/// What the manager says that is just starting.
fn first_answer(casemate: &Instance, words: &[&str]) -> Output {
    poll::until("an answer", || Some(casemate.run(words)).filter(|answer| !answer.stderr.contains("no manager runs")))
}

both_modes! {
    fn manager_takes_over_from_a_helper_of_an_earlier_protocol(mode) {
        let casemate = Instance::new(mode);
        follow(&casemate, Played::Earlier(&["facts", "layers"]), |_| {});
    }

    fn manager_takes_over_from_a_helper_of_a_later_protocol(mode) {
        let casemate = Instance::new(mode);
        follow(&casemate, Played::Later(&["quit", "remove-layer", "disk-usage"]), |casemate| {
            // An answer of an unknown name is an error of this one request: images are removed, layers stay.
            casemate.run(&["store", "df"]).expect(0);
        });
    }

    fn first_answer_of_a_manager_knows_all_containers(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        // They are silent, so that nothing but the request itself makes the manager's loop turn.
        let mut containers = vec![sleeper("first", &image, 10_001), sleeper("second", &image, 10_002)];
        let mut up = casemate.up(&Spec::new(containers.clone()));
        up.until_line("sleeping");
        kill_manager(&casemate, &mut up);
        play(&casemate, Played::SlowToList);
        let first_answer = |words: &[&str]| first_answer(&casemate, words);
        // A container that an earlier manager started.
        let mut up = casemate.up(&Spec::new(containers.clone()));
        first_answer(&["stop", "second"]).expect(0);
        kill_manager(&casemate, &mut up);
        // And one that only the file has.
        containers.push(sleeper("late", &image, 10_003));
        let mut up = casemate.up(&Spec::new(containers));
        std::thread::scope(|scope| {
            let start = scope.spawn(|| first_answer(&["start", "late"]));
            let ps = first_answer(&["ps"]).expect(0).stdout;
            assert!(ps.contains("first"), "{ps}");
            start.join().unwrap().expect(0);
        });
        casemate.run(&["down"]).expect(0);
        up.wait(poll::PATIENCE);
    }

    fn request_that_waits_for_a_refused_file_gets_the_reason(mode) {
        let casemate = Instance::new(mode);
        let image = casemate.probe();
        let first = sleeper("first", &image, 10_001);
        let mut up = casemate.up(&Spec::new(vec![first.clone()]));
        up.until_line("sleeping");
        kill_manager(&casemate, &mut up);
        play(&casemate, Played::SlowToList);
        let unknown = format!("localhost/none@sha256:{}", "0".repeat(64));
        let up = casemate.up(&Spec::new(vec![first.clone(), sleeper("late", &unknown, 10_002)]));
        let answer = first_answer(&casemate, &["start", "late"]);
        let refused = up.finish();
        assert_ne!((answer.code, refused.code), (0, 0));
        let reason = "the file is not applied: ";
        assert!(answer.stderr.contains(reason) && answer.stderr.contains(&"0".repeat(64)), "{answer:?} {refused:?}");
        let mut up = casemate.up(&Spec::new(vec![first]));
        first_answer(&casemate, &["down"]).expect(0);
        up.wait(poll::PATIENCE);
    }

    fn helper_obeys_a_manager_of_the_first_protocol(mode) {
        let casemate = Instance::new(mode);
        let mut up = casemate.up(&Spec::new(containers(&casemate.probe())));
        up.until_line("sleeping");
        let web = payload(&casemate, "lines");
        // The payload is stopped while its manager is replaced, so that the log ends with a whole line.
        poll::until("some lines", || casemate.run(&["logs", "web"]).stderr.contains("line 100\n").then_some(()));
        assert!(host::signal(web[0], Signal::STOP));
        let logged = || {
            let logs = casemate.run(&["logs", "web"]).expect(0);
            (logs.stdout, logs.stderr)
        };
        let mut before = logged();
        let before = poll::until("a quiet log", || {
            std::thread::sleep(Duration::from_millis(100));
            let now = logged();
            (now == before).then(|| now.clone()).or_else(|| { before = now; None })
        });
        kill_manager(&casemate, &mut up);

        let first = FirstClient::connect(&casemate);
        // Welcome has the helper's protocol in its last byte.
        let welcome = first.ask("hello: protocol 1, with events");
        let of_first = recorded("answers", "welcome: protocol 1");
        assert_eq!(welcome.packet[..of_first.len() - 1], of_first[..of_first.len() - 1]);
        // List.
        let list = first.ask("containers: the first page");
        assert_eq!((list.number, list.name.as_str()), (3, "containers"));
        let mut fields = Fields(&list.body);
        assert_eq!(fields.number(), 2);
        for name in ["sleeper", "web"] {
            assert_eq!(fields.text(), name);
            fields.take(32);
            assert!(fields.number() > 0, "started");
            assert_eq!(fields.byte(), 0, "running");
        }
        assert_eq!(fields.0, [0], "no more");
        assert_eq!(first.ask("containers: the page behind web").body, [0, 0]);
        // Take over: pidfd, standard output and error, and a spool pipe that the killed manager had emptied.
        let attached = first.ask("attach: web");
        assert_eq!(attached.packet, recorded("answers", "attached"));
        let [_pidfd, stdout, stderr, spool, _spool_write] = <[_; 5]>::try_from(attached.descriptors).unwrap();
        assert_eq!(rustix::io::ioctl_fionread(&spool).unwrap(), 0);
        assert!(host::signal(web[0], Signal::CONT));
        let stdout = host::read_to_end(stdout);
        let stderr = host::read_to_end(stderr);
        std::thread::sleep(Duration::from_millis(200));
        // Stop. Its pid 1 has no handler for SIGTERM, so that alone does not end it.
        assert_eq!(first.ask("signal: SIGTERM to web").packet, recorded("answers", "done"));
        assert_eq!(first.ask("kill: web").name, "done");
        let event = first.receive();
        assert_eq!((event.name.as_str(), event.number), ("exited", 0));
        let mut fields = Fields(&event.body);
        assert_eq!((fields.text().as_str(), fields.byte(), fields.take(2)), ("web", 137, vec![1, 9]));
        let stdout = stdout.join().unwrap();
        let stderr = stderr.join().unwrap();
        assert!(stdout.lines().count() > 50, "{stdout}");
        assert_each_once(&count([before.0.as_str(), before.1.as_str(), &stdout, &stderr]));
        assert_eq!(first.ask("attach: web").packet, recorded("answers", "attached"));
        assert_eq!(first.ask("forget: web").name, "done");
        assert_eq!(first.ask("attach: web").name, "failed");
    }
}
