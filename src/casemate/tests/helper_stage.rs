//! What a program gets from the start stage, asked from its own side: the real binary, with a program of the system in the
//! helper's place.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use casemate_engine::launch::Ids;
use casemate_engine::launch::stages::helper::{HelperArguments, NAME};
use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

fn run(user: Option<Ids>, helper: &str, arguments: &[&str]) -> Output {
    let orders = HelperArguments {
        user,
        cgroup_procs: Vec::new(),
        state: "/nowhere".into(),
        read_only_stores: None,
        helper: helper.into(),
        arguments: arguments.iter().map(Into::into).collect(),
    };
    let socket = UnixDatagram::unbound().unwrap();
    Command::new(env!("CARGO_BIN_EXE_casemate"))
        .arg0(NAME)
        .args(orders.to_arguments())
        .env("LD_PRELOAD", "/nowhere.so")
        .env("NOTIFY_SOCKET", "/nowhere")
        .stdin(std::os::fd::OwnedFd::from(socket))
        .output()
        .unwrap()
}

fn status(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key, value.trim())).collect()
}

#[test]
fn threat_30_environment_is_empty() {
    let output = run(None, "/bin/cat", &["/proc/self/environ"]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn threat_02_helper_inherits_null_log_and_socket_only() {
    let output = run(None, "/bin/ls", &["-l", "/proc/self/fd"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let of = |n: u32| text.lines().find(|line| line.contains(&format!(" {n} -> "))).unwrap_or_default();
    assert!(of(0).ends_with("/dev/null"), "{text}");
    assert!(of(3).contains("socket:["), "{text}");
    // The fourth is the directory that ls itself reads.
    assert_eq!(text.lines().filter(|line| line.contains(" -> ")).count(), 5, "{text}");
}

#[test]
fn helper_user_has_two_capabilities_and_cannot_gain_more() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: switching users needs root");
        return;
    }
    let output = run(Some(Ids { uid: 60_002, gid: 60_003 }), "/bin/cat", &["/proc/self/status"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let status = status(&text);
    assert_eq!(status["Uid"], "60002\t60002\t60002\t60002");
    assert_eq!(status["Gid"], "60003\t60003\t60003\t60003");
    assert_eq!(status["Groups"], "");
    // CAP_SETGID is 6, CAP_SETUID is 7.
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status[set], "00000000000000c0", "{set}");
    }
}

#[test]
fn program_has_its_own_session() {
    let output = run(None, "/bin/cat", &["/proc/self/stat"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let fields: Vec<&str> = text.split(' ').collect();
    assert_eq!(fields[5], fields[0], "{text}");
}

#[test]
fn ignored_signals_and_oom_score_are_not_inherited() {
    let orders = HelperArguments {
        user: None,
        cgroup_procs: Vec::new(),
        state: "/nowhere".into(),
        read_only_stores: None,
        helper: "/bin/cat".into(),
        arguments: vec!["/proc/self/status".into(), "/proc/self/oom_score_adj".into()],
    };
    // Only root may ask to be spared.
    let script = "trap '' CHLD HUP TERM; echo -500 2>/dev/null >/proc/$$/oom_score_adj; exec -a \"$0\" \"$@\"";
    let mut caller = Command::new("/bin/bash");
    caller.args(["-c", script, NAME, env!("CARGO_BIN_EXE_casemate")]).args(orders.to_arguments());
    let socket = UnixDatagram::unbound().unwrap();
    let output = caller.stdin(std::os::fd::OwnedFd::from(socket)).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // 32 and 33 belong to the C library, which changes them for nobody.
    let ignored = u64::from_str_radix(status(&text)["SigIgn"], 16).unwrap() & !(3 << 31);
    assert_eq!(ignored, 0, "{text}");
    assert!(text.lines().last().is_some_and(|score| !score.starts_with('-')), "{text}");
}

#[test]
fn orders_that_are_none_are_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_casemate")).arg0(NAME).arg("up").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("its arguments: incomplete"));
}
