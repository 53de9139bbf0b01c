//! casemate as it is installed on this host, and asked as a person would ask it.

use super::command::{finish, sh};
use super::wait::until;
use casemate_e2e::{Container, Output, Spec, host::Process};
use rustix::process::Signal;
use serde::Deserialize;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The manager's unit.
pub const MANAGER: &str = "casemate.service";
/// The helper's unit.
pub const HELPER: &str = "casemate-helper.service";
/// The file that the manager's unit reads.
pub const FILE: &str = "/etc/casemate/casemate.toml";
/// The disk with the programs.
pub const PAYLOAD: &str = "/srv/payload";
/// The state directory: a disk of its own.
pub const STATE: &str = "/var/lib/casemate";

/// One container of `casemate ps --json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// A word.
    pub state: String,
    /// Its first process, as the host counts.
    pub pid: Option<i32>,
    /// How it ended last.
    pub exit_code: Option<u8>,
    /// Processes that its memory limit killed in its last run.
    pub oom_kills: Option<u64>,
    /// Restarts by its policy.
    pub restarts: u32,
}

/// Runs `casemate`.
pub fn casemate(arguments: &[&str]) -> Output {
    let mut command = Command::new("casemate");
    command.args(arguments);
    finish(command)
}

/// What `casemate ps` says; none while no manager answers.
pub fn ps() -> Option<Vec<Status>> {
    let output = casemate(&["ps", "--json"]);
    (output.code == 0).then(|| serde_json::from_str(&output.stdout).unwrap())
}

/// One container, once a manager answers.
pub fn status(name: &str) -> Status {
    until(&format!("an answer about {name}"), || ps()?.into_iter().find(|status| status.name == name))
}

/// Waits until a container is in this state.
pub fn until_state(name: &str, state: &str) -> Status {
    until(&format!("{name} to be {state}"), || {
        ps()?.into_iter().find(|status| status.name == name && status.state == state)
    })
}

/// Waits until a container has written this text, and gives all that it has written.
pub fn until_output(name: &str, text: &str) -> String {
    until(&format!("{text:?} from {name}"), || {
        let all = output_of(name);
        all.contains(text).then_some(all)
    })
}

/// What a container has written, both streams.
pub fn output_of(name: &str) -> String {
    let output = casemate(&["logs", name]);
    output.stdout + &output.stderr
}

/// The numbers of the lines that `misbehave lines` has written, odd ones to one stream and even ones to the other, in order.
pub fn numbered(output: &Output) -> Vec<u64> {
    let number = |line: &str| line.strip_prefix("line ")?.parse().ok();
    let lines = output.stdout.lines().chain(output.stderr.lines());
    let mut numbers: Vec<u64> =
        lines.map(|line| number(line).unwrap_or_else(|| panic!("a torn line: {line:?}"))).collect();
    numbers.sort_unstable();
    numbers
}

/// The probe as an image of this host's store; gives its pin.
pub fn probe() -> String {
    let program = format!("{PAYLOAD}/bin/casemate-probe");
    let output = casemate(&["image", "pack", "--binary", &program, "--name", "probe"]).expect(0);
    let pin = output.stdout.split_whitespace().find(|word| word.contains("@sha256:"));
    pin.unwrap_or_else(|| panic!("no pin in {:?}", output.stdout)).to_owned()
}

/// A container with the probe, which is killed 1 s after the stop signal.
pub fn container(name: &str, image: &str, uid: u32, words: &[&str]) -> Container {
    Container::new(name, image, uid).command(words).set("stop_grace_period", "\"1s\"")
}

/// A container that sleeps: beside one that ends it keeps the manager there to be asked.
pub fn anchor(image: &str) -> Container {
    container("anchor", image, 10_100, &["misbehave", "sleep"])
}

/// Makes this the file of the host.
pub fn write_file(spec: &Spec) {
    fs::write(FILE, spec.text()).unwrap();
}

/// Makes this the file of the host, and the manager read it.
pub fn apply(spec: &Spec) {
    write_file(spec);
    restart();
}

/// Restarts the manager and waits until it answers.
pub fn restart() {
    sh(&format!("systemctl restart {MANAGER}")).expect(0);
    until("an answer of the manager", ps);
}

/// Applies a file with these containers and the anchor.
pub fn run(image: &str, containers: impl IntoIterator<Item = Container>) {
    apply(&Spec::new(containers.into_iter().chain([anchor(image)])));
}

/// A property of a unit.
pub fn property(unit: &str, name: &str) -> String {
    sh(&format!("systemctl show --value -p {name} {unit}")).expect(0).stdout.trim().to_owned()
}

/// The main process of the manager's unit, once there is one.
pub fn manager_pid() -> i32 {
    until("the manager's process", || property(MANAGER, "MainPID").parse().ok().filter(|pid| *pid != 0))
}

/// The journal of the manager in this boot.
pub fn journal() -> String {
    sh(&format!("journalctl --boot --output=cat --unit={MANAGER}")).stdout
}

/// The processes of payloads: those of the probe.
pub fn payloads() -> Vec<Process> {
    let all = casemate_e2e::host::processes().into_iter();
    all.filter(|process| process.arguments.iter().any(|word| word == "misbehave")).collect()
}

/// The cgroup of a container's first process.
pub fn cgroup(name: &str) -> std::path::PathBuf {
    let pid = status(name).pid.unwrap_or_else(|| panic!("{name} does not run"));
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = text.trim().strip_prefix("0::/").unwrap_or_else(|| panic!("{text}"));
    assert!(path.ends_with(&format!("c-{name}")), "{path}");
    Path::new("/sys/fs/cgroup").join(path)
}

/// Kills a process at once.
pub fn kill(pid: i32) {
    assert!(casemate_e2e::host::signal(pid, Signal::KILL), "no process {pid}");
}
