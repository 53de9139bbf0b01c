//! The filters, asked by the kernel's answers: every call of the probe's table is made in a process of its own, below the
//! filter, with allowed and with bad arguments. A filter belongs to a thread, so each test confines one of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use casemate_confine::{process, seccomp as installed};
use casemate_filter as seccomp;
use casemate_probe::trial;
use std::collections::BTreeMap;
use std::io::Write;

type Answers = BTreeMap<String, String>;

/// Runs `question` on a thread below these filters.
fn below<T: Send>(filters: &[&seccomp::Program], question: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            process::no_new_privs().unwrap();
            for filter in filters {
                installed::install_bytes(&filter.to_bytes()).unwrap();
            }
            question()
        });
        thread.join().unwrap()
    })
}

fn baseline_answers() -> Answers {
    below(&[&seccomp::baseline(false).unwrap()], trial::all_calls)
}

/// Calls that are answered with this, picked by how their names begin.
fn assert_all(answers: &Answers, prefixes: &[&str], expected: &str) {
    for prefix in prefixes {
        let picked: Vec<_> = answers.iter().filter(|(name, _)| name.starts_with(prefix)).collect();
        assert!(!picked.is_empty(), "no trial is named {prefix}");
        for (name, answer) in picked {
            assert_eq!(answer, expected, "{name}");
        }
    }
}

#[test]
fn threat_21_nothing_is_typed_into_a_terminal() {
    assert_all(&baseline_answers(), &["ioctl(TIOCSTI", "ioctl(TIOCLINUX"], "EPERM");
    // Another request reaches the kernel, which then says that the descriptor is not open.
    let answer = below(&[&seccomp::baseline(false).unwrap()], || rustix::io::ioctl_fionread(std::io::stdin()));
    assert_ne!(answer.err(), Some(rustix::io::Errno::PERM));
}

#[test]
fn threat_22_keys_are_out_of_reach() {
    assert_all(&baseline_answers(), &["keyctl", "add_key", "request_key"], "EPERM");
    std::thread::spawn(|| process::new_session_keyring().unwrap()).join().unwrap();
}

#[test]
fn threat_23_no_namespace_is_made_or_entered() {
    let answers = baseline_answers();
    assert_all(&answers, &["unshare(", "setns", "clone("], "EPERM");
    assert_eq!(answers["clone3"], "ENOSYS");
    // Threads and processes are still made: the probe forks for every trial, and this starts a thread.
    below(&[&seccomp::baseline(false).unwrap()], || std::thread::spawn(|| ()).join().unwrap());
}

#[test]
fn threat_24_socket_families_are_a_list() {
    let answers = below(&[&seccomp::baseline(false).unwrap()], trial::all_sockets);
    for (name, answer) in &answers {
        let family = name.split('/').next().unwrap_or(name);
        let pair = name.ends_with("/socketpair");
        let allowed = match family {
            "AF_UNIX" => true,
            "AF_INET" | "AF_INET6" => !pair,
            "AF_NETLINK" => !pair && !name.ends_with("NETLINK_XFRM"),
            _ => false,
        };
        // Some types do not exist in a family, and raw sockets want a capability: then EPERM says nothing.
        if allowed && !name.contains("/RAW") {
            assert_ne!(answer, "EPERM", "{name}");
        } else if !allowed {
            assert_eq!(answer, "EPERM", "{name}");
        }
    }
    for open in ["AF_UNIX/STREAM", "AF_INET/DGRAM", "AF_INET6/STREAM", "AF_NETLINK/RAW"] {
        assert!(answers[open] == "worked" || answers[open] == "EAFNOSUPPORT", "{open}: {}", answers[open]);
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn threat_24_foreign_entries_are_killed() {
    let answers = baseline_answers();
    assert_all(&answers, &["x32 "], "killed by SIGSYS");
    // A kernel without the 32-bit entry kills with SIGSEGV before any filter is asked.
    let outside = trial::one("int 0x80 getpid").unwrap();
    let expected = if outside == "killed by SIGSEGV" { "killed by SIGSEGV" } else { "killed by SIGSYS" };
    assert_all(&answers, &["int 0x80"], expected);
}

#[test]
fn threat_25_the_kernels_surface_is_closed() {
    let answers = baseline_answers();
    assert_eq!(answers["unknown call 1000"], "ENOSYS");
    let open: Vec<_> = answers
        .iter()
        .filter(|(name, _)| !name.starts_with("int 0x80") && !name.starts_with("x32"))
        .filter(|(name, answer)| !matches!(name.as_str(), "clone3" | "unknown call 1000") && *answer != "EPERM")
        .collect();
    assert!(open.is_empty(), "{open:?}");
    // chroot is the one call that a capability opens: then the kernel looks at its argument.
    let answer = below(&[&seccomp::baseline(true).unwrap()], || trial::one("chroot"));
    assert_eq!(answer.as_deref(), Some("EFAULT"));
}

#[test]
fn an_allow_list_kills_what_it_does_not_name() {
    let names = [
        "clone", "close", "exit", "exit_group", "fork", "futex", "getpid", "gettid", "madvise", "mmap", "mprotect",
        "munmap", "read", "rseq", "rt_sigaction", "rt_sigprocmask", "sched_yield", "set_robust_list", "sigaltstack",
        "wait4", "write", "writev",
    ];
    let list = seccomp::allow_list(&names).unwrap();
    let answers = below(&[&list], || ["acct", "bpf", "clone3", "unknown call 1000"].map(trial::one));
    assert_eq!(answers[0].as_deref(), Some("killed by SIGSYS"));
    assert_eq!(answers[2].as_deref(), Some("ENOSYS"));
    assert_eq!(answers[3].as_deref(), Some("ENOSYS"));
    below(&[&list], || std::io::sink().write_all(b"x").unwrap());
    assert!(seccomp::allow_list(&["read", "raed"]).is_err());
}

#[test]
fn filters_stack_and_nonsense_is_refused() {
    let baseline = seccomp::baseline(false).unwrap();
    assert_eq!(below(&[&baseline, &baseline], || trial::one("bpf")).as_deref(), Some("EPERM"));
    // Eight bytes that are no instruction pass `from_bytes`, and the kernel's own checker refuses them.
    std::thread::spawn(move || {
        process::no_new_privs().unwrap();
        assert!(installed::install_bytes(&[0xff; 8]).is_err());
    })
    .join()
    .unwrap();
}
