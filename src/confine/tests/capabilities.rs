//! Capability sets as the kernel reports them, in the thread and after an execve. They belong to a thread, so each test
//! changes those of one of its own. Needs CAP_SETPCAP; without it a test says that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use casemate_confine::capabilities::{self, CapabilitySet};
use casemate_confine::process;
use rustix::process::Uid;
use rustix::thread::{capabilities_secure_bits, set_thread_res_uid};
use std::collections::BTreeMap;
use std::process::Command;

const NET_BIND_SERVICE: u8 = 10;
const NOBODY: u32 = 65534;

/// The five sets of a program that this thread executes.
fn sets_after_exec() -> BTreeMap<String, u64> {
    let output = Command::new("/bin/cat").arg("/proc/self/status").output().unwrap();
    sets(&String::from_utf8(output.stdout).unwrap())
}

/// The five sets of this thread.
fn sets_here() -> BTreeMap<String, u64> {
    sets(&std::fs::read_to_string("/proc/thread-self/status").unwrap())
}

fn sets(status: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, bits) = line.strip_prefix("Cap")?.split_once(":\t")?;
        Some((name.to_owned(), u64::from_str_radix(bits, 16).unwrap()))
    };
    let sets: BTreeMap<_, _> = status.lines().filter_map(line).collect();
    assert_eq!(sets.len(), 5);
    sets
}

/// Runs the test on its own thread, or says why not.
fn on_a_thread(test: fn()) {
    let setpcap = rustix::thread::capabilities(None).unwrap().effective.contains(CapabilitySet::SETPCAP);
    if setpcap {
        std::thread::spawn(test).join().unwrap();
    } else {
        println!("skipped: needs CAP_SETPCAP");
    }
}

#[test]
fn threat_09_all_sets_are_empty_and_uid_0_regains_none() {
    on_a_thread(|| {
        capabilities::hold_ambient(&[]).unwrap();
        assert!(sets_here().values().all(|&bits| bits == 0), "{:?}", sets_here());
        assert!(sets_after_exec().values().all(|&bits| bits == 0), "{:?}", sets_after_exec());
        // All seven bits of securebits.h that are set, every lock among them.
        assert_eq!(capabilities_secure_bits().unwrap().bits(), 0b1110_1111);
        // What is gone cannot be dropped again, as that takes CAP_SETPCAP: an honest error.
        assert!(capabilities::hold_ambient(&[]).is_err());
    });
}

#[test]
fn threat_09_kept_capabilities_end_with_execve() {
    on_a_thread(|| {
        let kept = CapabilitySet::CHOWN | CapabilitySet::FOWNER | CapabilitySet::FSETID;
        capabilities::keep_only(kept).unwrap();
        let here = sets_here();
        assert_eq!((here["Eff"], here["Prm"]), (kept.bits(), kept.bits()));
        assert_eq!((here["Inh"], here["Bnd"], here["Amb"]), (0, 0, 0));
        assert!(sets_after_exec().values().all(|&bits| bits == 0), "{:?}", sets_after_exec());
    });
}

#[test]
fn threat_09_payload_has_only_its_ambient_capability() {
    on_a_thread(|| {
        process::no_new_privs().unwrap();
        rustix::thread::set_keep_capabilities(true).unwrap();
        let nobody = Uid::from_raw(NOBODY);
        set_thread_res_uid(nobody, nobody, nobody).unwrap();
        let all = rustix::thread::capabilities(None).unwrap();
        let raised = rustix::thread::CapabilitySets { effective: all.permitted, ..all };
        rustix::thread::set_capabilities(None, raised).unwrap();
        capabilities::hold_ambient(&[NET_BIND_SERVICE]).unwrap();
        for sets in [sets_here(), sets_after_exec()] {
            assert!(sets.values().all(|&bits| bits == 1 << NET_BIND_SERVICE), "{sets:?}");
        }
    });
}

#[test]
fn unknown_capability_number_is_an_error() {
    on_a_thread(|| {
        assert!(capabilities::hold_ambient(&[63]).is_err());
        assert!(capabilities::hold_ambient(&[200]).is_err());
    });
}

#[test]
fn without_setpcap_the_held_sets_still_go() {
    std::thread::spawn(|| {
        capabilities::drop_held().unwrap();
        let here = sets_here();
        assert_eq!((here["Eff"], here["Prm"], here["Inh"], here["Amb"]), (0, 0, 0, 0));
    })
    .join()
    .unwrap();
}

#[test]
fn threat_01_undumpable_process_stays_undumpable() {
    process::not_dumpable().unwrap();
    let status = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(status, rustix::process::DumpableBehavior::NotDumpable);
}
