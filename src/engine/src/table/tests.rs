//! The table against a model of the helper: random files, verbs, replies and exits in random order break no rule, and afterwards every
//! container is in its desired state.

use super::actions::MAX_STARTS;
use super::*;
use crate::logs::Bounds;
use crate::reconcile::Action;
use crate::state::{ContainerConfig, DesiredState};
use casemate_error::Code;
use casemate_spec::{Restart, RestartPolicy};
use casemate_wire::{
    Confinement, Digest, Exit, Ids, Job, Landlock, Limits, Network, Proc, Process, Rootfs, WritableRoot,
};
use proptest::prelude::*;
use std::time::Duration;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Two containers share a uid: one cannot start while an outdated run of the other has not ended.
const USERS: [u32; 5] = [10_001, 10_002, 10_003, 10_001, 10_005];

fn name(n: usize) -> Name {
    Name::new(NAMES[n]).unwrap()
}

/// The config of a container in one of its versions.
fn config(n: usize, version: u8, policy: RestartPolicy) -> ContainerConfig {
    let second = Duration::from_secs(1);
    ContainerConfig {
        job: Job {
            name: name(n),
            digest: Digest::from_bytes([version; 32]),
            rootfs: Rootfs {
                layers: Vec::new(),
                writable_root: WritableRoot::None,
                mounts: Vec::new(),
                devices: Vec::new(),
                shm_size: 0,
                proc: Proc { subset_pid: true, masked: Vec::new(), read_only: Vec::new() },
                sysfs: false,
            },
            confinement: Confinement {
                ids: Ids { uid: USERS[n], gid: USERS[n] },
                capabilities: Vec::new(),
                landlock: Landlock::default(),
                seccomp: Vec::new(),
            },
            process: Process {
                argv: Vec::new(),
                env: Vec::new(),
                cwd: "/".to_owned(),
                rlimits: Vec::new(),
                init: false,
            },
            limits: Limits::Waived,
            network: Network {
                hostname: NAMES[n].to_owned(),
                hosts: Vec::new(),
                resolv_conf: Vec::new(),
                sysctls: Vec::new(),
            },
        },
        prove_layers: version % 2 == 1,
        restart: Restart { policy, max_retries: 3, delay: second, max_delay: 4 * second, window: 60 * second },
        stop_signal: 15,
        stop_grace_period: 10 * second,
        log_bounds: Bounds { size: 1, count: 1 },
        host_log: None,
        image: String::new(),
    }
}

/// An input of the table.
#[derive(Debug, Clone)]
enum Input {
    /// A file with these containers, each in a version and with a policy.
    File(Vec<(usize, u8, RestartPolicy)>),
    Start(usize),
    Stop(usize),
    Restart(usize),
    Close,
    Kill,
    /// The helper replies to its oldest request; a start may fail.
    Answer {
        fails: bool,
    },
    /// A payload ends with this code.
    End(usize, u8),
    Pass(u64),
}

fn input() -> impl Strategy<Value = Input> {
    let policy = prop_oneof![Just(RestartPolicy::No), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Always)];
    let file = proptest::sample::subsequence(vec![0, 1, 2, 3, 4], 1..=5).prop_shuffle().prop_flat_map(move |names| {
        let count = names.len();
        let details = proptest::collection::vec((1..4_u8, policy.clone()), count);
        details.prop_map(move |details| {
            let pair = |(n, (version, policy)): (&usize, (u8, RestartPolicy))| (*n, version, policy);
            names.iter().zip(details).map(pair).collect()
        })
    });
    prop_oneof![
        2 => file.prop_map(Input::File),
        2 => (0..5_usize).prop_map(Input::Start),
        2 => (0..5_usize).prop_map(Input::Stop),
        2 => (0..5_usize).prop_map(Input::Restart),
        12 => proptest::bool::weighted(0.1).prop_map(|fails| Input::Answer { fails }),
        6 => (0..5_usize, prop_oneof![Just(0), Just(1)]).prop_map(|(n, code)| Input::End(n, code)),
        5 => (0..15_u64).prop_map(Input::Pass),
        1 => Just(Input::Close),
        1 => Just(Input::Kill),
    ]
}

/// What the helper knows of a container.
#[derive(Debug, Clone, PartialEq)]
enum Held {
    Starting,
    Running { signalled: bool },
    Exited,
}

#[derive(Debug)]
enum Pending {
    Proof(Name),
    Start(Name),
}

/// The model of the helper, and the state for checking the rules.
struct Model {
    table: Table,
    helper: BTreeMap<Name, Held>,
    /// The user of each run that the helper has.
    users: BTreeMap<Name, (u32, Digest)>,
    requests: Vec<Pending>,
    /// The newest generation whose start was seen.
    begun: BTreeMap<Name, u64>,
    now: Instant,
    last_kill_after_signal: BTreeMap<Name, Instant>,
}

impl Model {
    fn new() -> Self {
        Self {
            table: Table::default(),
            helper: BTreeMap::new(),
            users: BTreeMap::new(),
            requests: Vec::new(),
            begun: BTreeMap::new(),
            now: Instant::now(),
            last_kill_after_signal: BTreeMap::new(),
        }
    }

    fn act(&mut self) {
        self.table.wake(self.now);
        let mut actions = 0;
        while let Some((name, action)) = self.table.step(self.now) {
            actions += 1;
            assert!(actions < 1000, "no end of actions: {name} {action:?}");
            self.take(&name, action);
        }
        let in_progress = self.requests.len();
        assert!(in_progress <= MAX_STARTS, "{in_progress} starts in progress");
    }

    fn take(&mut self, name: &Name, action: Action) {
        let container = self.table.get(name).unwrap();
        let desired = container.desired.clone().unwrap();
        match action {
            Action::Prove => {
                assert_eq!(desired.state, DesiredState::Running);
                self.check_user_is_free(name);
                self.check_order(name);
                self.requests.push(Pending::Proof(name.clone()));
            }
            Action::AbandonProof => self.requests.retain(|q| !matches!(q, Pending::Proof(n) if n == name)),
            Action::Start => {
                assert_eq!(desired.state, DesiredState::Running, "{name} shall not run");
                self.check_user_is_free(name);
                self.check_order(name);
                self.start(name);
            }
            Action::SendStopSignal => {
                let held = self.helper.get_mut(name).unwrap();
                assert_eq!(*held, Held::Running { signalled: false }, "{name}");
                *held = Held::Running { signalled: true };
                self.last_kill_after_signal.insert(name.clone(), self.now + Duration::from_secs(10));
                if desired.state == DesiredState::StoppedInOrder {
                    for follower in self.table.graph.stop_after(name) {
                        assert!(!self.helper.contains_key(follower) || self.helper[follower] == Held::Exited);
                    }
                }
            }
            Action::Kill => {
                assert!(matches!(self.helper.get(name), Some(Held::Running { .. })));
                let early = self.last_kill_after_signal.get(name).is_some_and(|at| *at > self.now);
                assert!(
                    !early || desired.state == DesiredState::Killed,
                    "{name} is killed before its grace period is over"
                );
                // SIGKILL cannot be ignored.
                self.end(name, 137);
            }
            Action::Forget => {
                assert_eq!(self.helper.remove(name), Some(Held::Exited), "{name}");
                self.users.remove(name);
            }
        }
    }

    /// A start begins only if no outdated run has the same user.
    fn check_user_is_free(&self, name: &Name) {
        let container = self.table.get(name).unwrap();
        let config = container.desired.as_ref().unwrap().config.as_ref().unwrap();
        for (other, (user, digest)) in &self.users {
            let alive = self.helper.get(other).is_some_and(|held| *held != Held::Exited);
            let stays = self.table.get(other).is_some_and(|other| {
                let config = other.desired.as_ref().unwrap().config.as_ref();
                config.is_some_and(|config| config.job.digest == *digest)
            });
            let taken = *user == config.job.confinement.ids.uid && alive && !stays;
            assert!(!taken, "{name} gets the user of {other}, whose run is outdated");
        }
    }

    /// The first start of a generation begins after that of the container before it in the file.
    fn check_order(&mut self, name: &Name) {
        let generation = |name: &Name| self.table.get(name).unwrap().desired.as_ref().unwrap().generation;
        if self.begun.get(name) != Some(&generation(name)) {
            for before in self.table.graph.start_after(name) {
                let start_has_begun = self.begun.get(before) == Some(&generation(before));
                assert!(
                    start_has_begun || !self.table.get(before).unwrap().should_run(),
                    "{name} begins before {before}"
                );
            }
        }
        self.begun.insert(name.clone(), generation(name));
    }

    fn start(&mut self, name: &Name) {
        assert!(!self.helper.contains_key(name), "{name} is running already");
        let container = self.table.get(name).unwrap();
        let config = container.desired.as_ref().unwrap().config.as_ref().unwrap();
        let user = config.job.confinement.ids.uid;
        let digest = config.job.digest;
        self.users.insert(name.clone(), (user, digest));
        self.helper.insert(name.clone(), Held::Starting);
        self.requests.push(Pending::Start(name.clone()));
    }

    fn answer(&mut self, fails: bool) {
        if self.requests.is_empty() {
            return;
        }
        match self.requests.remove(0) {
            Pending::Proof(name) if fails => {
                self.table.start_failed(&name, Code::Verification, String::new(), self.now);
            }
            Pending::Proof(name) => {
                if self.table.proven(&name) {
                    self.start(&name);
                }
            }
            Pending::Start(name) if fails => {
                self.helper.remove(&name);
                self.users.remove(&name);
                self.table.start_failed(&name, Code::Failed, String::new(), self.now);
            }
            Pending::Start(name) => {
                self.helper.insert(name.clone(), Held::Running { signalled: false });
                self.table.started(&name, 1);
            }
        }
    }

    fn end(&mut self, name: &Name, code: u8) {
        let Some(held @ Held::Running { .. }) = self.helper.get_mut(name) else { return };
        *held = Held::Exited;
        self.last_kill_after_signal.remove(name);
        self.table.exited(name, Exit { code, signal: None, oom_kills: 0, at: 2 });
        self.table.drained(name, self.now);
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::File(_) if self.table.is_stopping() => {}
            Input::File(containers) => {
                let configs = containers.iter().map(|(n, version, policy)| config(*n, *version, *policy));
                self.table.apply(configs.collect());
            }
            Input::Start(n) if !self.table.is_stopping() => self.table.start(&name(n)),
            Input::Restart(n) if !self.table.is_stopping() => self.table.restart(&name(n)),
            Input::Stop(n) if !self.table.is_stopping() => self.table.stop(&name(n)),
            Input::Start(_) | Input::Restart(_) | Input::Stop(_) => {}
            Input::Close => self.table.stop_all(),
            Input::Kill => self.table.kill_all(),
            Input::Answer { fails } => self.answer(fails),
            Input::End(n, code) => self.end(&name(n), code),
            Input::Pass(seconds) => self.now += Duration::from_secs(seconds),
        }
        self.act();
        self.check_counts();
    }

    fn check_counts(&self) {
        let all = || self.table.containers.values();
        assert_eq!(self.table.all_ended(), all().all(Container::has_ended));
        assert_eq!(self.table.all_ended_by_themselves(), all().all(Container::has_ended_by_itself));
        assert_eq!(self.table.all_starts_decided(), all().all(Container::start_is_decided));
        assert_eq!(self.table.all_came_up(), all().all(Container::came_up));
    }

    /// Replies to all requests and lets time pass. Payloads run until they are stopped.
    fn settle(&mut self) {
        for _ in 0..200 {
            while !self.requests.is_empty() {
                self.input(Input::Answer { fails: false });
            }
            match self.table.next_wake() {
                Some(wake) => self.now = self.now.max(wake),
                None => break,
            }
            self.act();
        }
        assert!(self.requests.is_empty() && self.table.next_wake().is_none());
    }

    fn check_desired_states(&self) {
        for (name, container) in &self.table.containers {
            let held = self.helper.get(name);
            if container.should_run() && container.end().is_none() {
                assert_eq!(held, Some(&Held::Running { signalled: false }), "{name}: {container:?}");
                let desired = container.desired.as_ref().unwrap();
                assert_eq!(container.observed.run.as_ref().unwrap().generation, desired.generation);
            } else {
                assert!(matches!(held, None | Some(Held::Exited)), "{name}: {held:?} {container:?}");
            }
        }
        for name in self.helper.keys() {
            assert!(self.table.get(name).is_some(), "{name} was removed from the table, not from the helper");
        }
        if self.table.is_stopping() {
            assert!(self.table.all_ended());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn table_reaches_the_desired_state_without_breaking_a_rule(inputs in proptest::collection::vec(input(), 1..80)) {
        let mut model = Model::new();
        for input in inputs {
            model.input(input);
        }
        model.settle();
        model.check_desired_states();
    }
}

#[test]
fn first_starts_come_before_restarts_and_overlap() {
    let mut model = Model::new();
    let configs = [0, 1, 2].map(|n| config(n, 2, RestartPolicy::Always)).to_vec();
    model.table.apply(configs);
    model.act();
    // No reply came yet, and all three starts are in progress, in file order.
    let started: Vec<_> = model.requests.iter().map(|request| format!("{request:?}")).collect();
    assert_eq!(started.len(), 3, "{started:?}");
    assert!(started[0].contains("\"a\"") && started[2].contains("\"c\""), "{started:?}");
    assert!(!model.table.all_starts_decided());
    model.settle();
    assert!(model.table.all_came_up());
}

#[test]
fn containers_are_listed_in_file_order_with_orphans_last() {
    let mut model = Model::new();
    model.table.apply([3, 0, 2].map(|n| config(n, 2, RestartPolicy::Always)).to_vec());
    model.settle_started();
    model.table.apply([2, 1].map(|n| config(n, 2, RestartPolicy::Always)).to_vec());
    let listed: Vec<_> = model.table.in_order().map(|(name, _)| name.clone()).collect();
    assert_eq!(listed, [2, 1, 0, 3].map(name));
}

#[test]
fn stop_in_order_waits_for_the_following_container() {
    let mut model = Model::new();
    model.table.apply([0, 1].map(|n| config(n, 2, RestartPolicy::No)).to_vec());
    model.settle_started();
    model.input(Input::Close);
    assert_eq!(model.helper[&name(0)], Held::Running { signalled: false });
    assert_eq!(model.helper[&name(1)], Held::Running { signalled: true });
    model.input(Input::End(1, 0));
    assert_eq!(model.helper[&name(0)], Held::Running { signalled: true });
    model.input(Input::End(0, 0));
    assert!(model.table.all_ended());
}

impl Model {
    fn settle_started(&mut self) {
        self.act();
        while !self.requests.is_empty() {
            self.input(Input::Answer { fails: false });
        }
    }
}
