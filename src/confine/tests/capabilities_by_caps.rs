//! Every capability set that this crate sets, read back by the crate caps instead of our own code. Capabilities belong to a thread, so
//! each test changes those of one of its own. Needs CAP_SETPCAP; without it a test says that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use caps::{CapSet, Capability, CapsHashSet};
use casemate_confine::capabilities::{self, CapabilitySet};

/// Runs the test on a thread of its own, or says why not.
fn on_a_thread(test: fn()) {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap() {
        std::thread::spawn(test).join().unwrap();
    } else {
        println!("skipped: needs CAP_SETPCAP");
    }
}

/// Asserts the five sets.
#[track_caller]
fn assert_sets(held: &[Capability], inheritable: &[Capability], ambient: &[Capability], bounding: &[Capability]) {
    let expected = |list: &[Capability]| list.iter().copied().collect::<CapsHashSet>();
    for (set, list) in [
        (CapSet::Effective, held),
        (CapSet::Permitted, held),
        (CapSet::Inheritable, inheritable),
        (CapSet::Ambient, ambient),
        (CapSet::Bounding, bounding),
    ] {
        assert_eq!(caps::read(None, set).unwrap(), expected(list), "{set:?}");
    }
}

#[test]
fn threat_09_sets_of_a_payload_are_empty_for_caps_too() {
    on_a_thread(|| {
        capabilities::hold_ambient(&[]).unwrap();
        assert_sets(&[], &[], &[], &[]);
    });
}

#[test]
fn threat_09_sets_of_a_payload_with_each_capability_of_the_ceiling_are_those_that_caps_reads() {
    on_a_thread(|| {
        let ceiling = [Capability::CAP_NET_BIND_SERVICE, Capability::CAP_SYS_CHROOT];
        let numbers: Vec<u8> = casemate_confine::ceiling::CAPABILITIES.iter().map(|&(_, number)| number).collect();
        assert_eq!(numbers, ceiling.map(|capability| capability.index()));
        capabilities::hold_ambient(&numbers).unwrap();
        assert_sets(&ceiling, &ceiling, &ceiling, &ceiling);
    });
}

#[test]
fn threat_09_sets_of_our_programs_are_those_that_caps_reads() {
    on_a_thread(|| {
        let kept = CapabilitySet::CHOWN | CapabilitySet::FOWNER | CapabilitySet::DAC_OVERRIDE | CapabilitySet::FSETID;
        capabilities::keep_only(kept).unwrap();
        let same =
            [Capability::CAP_CHOWN, Capability::CAP_FOWNER, Capability::CAP_DAC_OVERRIDE, Capability::CAP_FSETID];
        assert_sets(&same, &[], &[], &[]);
    });
    on_a_thread(|| {
        let kept = CapabilitySet::SYS_ADMIN | CapabilitySet::SETUID | CapabilitySet::SETPCAP;
        capabilities::keep_within(kept).unwrap();
        let same = [Capability::CAP_SYS_ADMIN, Capability::CAP_SETUID, Capability::CAP_SETPCAP];
        assert_sets(&same, &[], &[], &same);
    });
    on_a_thread(|| {
        let bounding: Vec<Capability> = caps::read(None, CapSet::Bounding).unwrap().into_iter().collect();
        capabilities::drop_held().unwrap();
        assert_sets(&[], &[], &[], &bounding);
    });
}

#[test]
fn threat_09_capabilities_kept_over_a_change_of_ids_are_raised() {
    on_a_thread(|| {
        let permitted: Vec<Capability> = caps::read(None, CapSet::Permitted).unwrap().into_iter().collect();
        let bounding: Vec<Capability> = caps::read(None, CapSet::Bounding).unwrap().into_iter().collect();
        rustix::thread::set_keep_capabilities(true).unwrap();
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        assert_sets_effective(&[]);
        capabilities::raise_permitted().unwrap();
        assert_sets(&permitted, &[], &[], &bounding);
    });
}

#[track_caller]
fn assert_sets_effective(expected: &[Capability]) {
    assert_eq!(caps::read(None, CapSet::Effective).unwrap(), expected.iter().copied().collect::<CapsHashSet>());
}
