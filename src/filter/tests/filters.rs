//! The filters in the kernel: makes every system call of the probe's table in a process of its own below the filter, with allowed
//! and with denied arguments. A filter belongs to a thread, so each test confines a thread of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use casemate_confine::{process, seccomp as installed};
use casemate_filter as seccomp;
use casemate_probe::trial;
use std::collections::BTreeMap;
use std::io::Write;

/// Results of trials by the trial's name: `worked`, an error's name, or the signal that killed the process.
type Results = BTreeMap<String, String>;

/// Runs `trial` on a thread below these filters.
fn below<T: Send>(filters: &[&seccomp::Program], trial: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            process::no_new_privs().unwrap();
            for filter in filters {
                installed::install_bytes(&filter.to_bytes()).unwrap();
            }
            trial()
        });
        thread.join().unwrap()
    })
}

fn baseline_results() -> Results {
    below(&[&seccomp::baseline(false).unwrap()], trial::all_calls)
}

/// Fails unless every trial whose name begins with one of the prefixes has the expected result.
fn assert_all(results: &Results, prefixes: &[&str], expected: &str) {
    for prefix in prefixes {
        let selected: Vec<_> = results.iter().filter(|(name, _)| name.starts_with(prefix)).collect();
        assert!(!selected.is_empty(), "no trial is named {prefix}");
        for (name, result) in selected {
            assert_eq!(result, expected, "{name}");
        }
    }
}

#[test]
fn threat_21_baseline_denies_tiocsti_and_tioclinux() {
    assert_all(&baseline_results(), &["ioctl(TIOCSTI", "ioctl(TIOCLINUX"], "EPERM");
    // Any other request passes the filter.
    let result = below(&[&seccomp::baseline(false).unwrap()], || rustix::io::ioctl_fionread(std::io::stdin()));
    assert_ne!(result.err(), Some(rustix::io::Errno::PERM));
}

#[test]
fn threat_22_baseline_denies_keyring_calls() {
    assert_all(&baseline_results(), &["keyctl", "add_key", "request_key"], "EPERM");
    std::thread::spawn(|| process::new_session_keyring().unwrap()).join().unwrap();
}

#[test]
fn threat_23_baseline_denies_making_and_entering_namespaces() {
    let results = baseline_results();
    assert_all(&results, &["unshare(", "setns", "clone("], "EPERM");
    assert_eq!(results["clone3"], "ENOSYS");
    // Processes and threads still start: the probe forks for every trial, and this starts a thread.
    below(&[&seccomp::baseline(false).unwrap()], || std::thread::spawn(|| ()).join().unwrap());
}

#[test]
fn threat_24_baseline_denies_socket_families_outside_its_list() {
    let results = below(&[&seccomp::baseline(false).unwrap()], trial::all_sockets);
    for (name, result) in &results {
        let family = name.split('/').next().unwrap_or(name);
        let pair = name.ends_with("/socketpair");
        let allowed = match family {
            "AF_UNIX" => true,
            "AF_INET" | "AF_INET6" => !pair,
            "AF_NETLINK" => !pair && !name.ends_with("NETLINK_XFRM"),
            _ => false,
        };
        // The kernel itself answers EPERM to a raw socket without its capability, so an allowed one proves nothing.
        if allowed && !name.contains("/RAW") {
            assert_ne!(result, "EPERM", "{name}");
        } else if !allowed {
            assert_eq!(result, "EPERM", "{name}");
        }
    }
    for open in ["AF_UNIX/STREAM", "AF_INET/DGRAM", "AF_INET6/STREAM", "AF_NETLINK/RAW"] {
        assert!(results[open] == "worked" || results[open] == "EAFNOSUPPORT", "{open}: {}", results[open]);
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn threat_24_foreign_system_call_entries_kill_the_process() {
    let results = baseline_results();
    assert_all(&results, &["x32 "], "killed by SIGSYS");
    // A kernel without the 32-bit entry kills with SIGSEGV before any filter runs.
    let outside = trial::one("int 0x80 getpid").unwrap();
    let expected = if outside == "killed by SIGSEGV" { "killed by SIGSEGV" } else { "killed by SIGSYS" };
    assert_all(&results, &["int 0x80"], expected);
}

#[test]
fn threat_25_baseline_denies_every_dangerous_call() {
    let results = baseline_results();
    assert_eq!(results["unknown call 1000"], "ENOSYS");
    let allowed: Vec<_> = results
        .iter()
        .filter(|(name, _)| !name.starts_with("int 0x80") && !name.starts_with("x32"))
        .filter(|(name, result)| !matches!(name.as_str(), "clone3" | "unknown call 1000") && *result != "EPERM")
        .collect();
    assert!(allowed.is_empty(), "{allowed:?}");
    // chroot is the only call that a capability allows: it passes the filter, and the kernel then checks its argument.
    let result = below(&[&seccomp::baseline(true).unwrap()], || trial::one("chroot"));
    assert_eq!(result.as_deref(), Some("EFAULT"));
}

#[test]
fn allow_list_kills_a_process_that_makes_another_call() {
    let names = [
        "clone", "close", "exit", "exit_group", "fork", "futex", "getpid", "gettid", "madvise", "mmap", "mprotect",
        "munmap", "read", "rseq", "rt_sigaction", "rt_sigprocmask", "sched_yield", "set_robust_list", "sigaltstack",
        "wait4", "write", "writev",
    ];
    let list = seccomp::allow_list(&names).unwrap();
    let results = below(&[&list], || ["acct", "bpf", "clone3", "unknown call 1000"].map(trial::one));
    assert_eq!(results[0].as_deref(), Some("killed by SIGSYS"));
    assert_eq!(results[2].as_deref(), Some("ENOSYS"));
    assert_eq!(results[3].as_deref(), Some("ENOSYS"));
    below(&[&list], || std::io::sink().write_all(b"x").unwrap());
    assert!(seccomp::allow_list(&["read", "raed"]).is_err());
}

#[test]
fn filters_stack_and_kernel_refuses_invalid_instructions() {
    let baseline = seccomp::baseline(false).unwrap();
    assert_eq!(below(&[&baseline, &baseline], || trial::one("bpf")).as_deref(), Some("EPERM"));
    // `install_bytes` takes any eight bytes as an instruction; the kernel's checker refuses an invalid one.
    std::thread::spawn(move || {
        process::no_new_privs().unwrap();
        assert!(installed::install_bytes(&[0xff; 8]).is_err());
    })
    .join()
    .unwrap();
}
