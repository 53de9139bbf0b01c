//! Jobs: a decoded job encodes and decodes to an equal one, and a job that passes the check keeps the helper's invariants.
#![no_main]

use casemate_wire::{IdSpace, Job};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(job) = Job::decode(bytes) else { return };
    if let Ok(again) = job.encode() {
        assert_eq!(Job::decode(&again), Ok(job.clone()));
    }
    for space in [IdSpace::Single, IdSpace::Range { count: 65535 }] {
        if casemate_container::check(&job, space).is_err() {
            continue;
        }
        let ids = &job.confinement.ids;
        assert!((1..=65534).contains(&ids.uid) && (1..=65534).contains(&ids.gid));
        assert!(!job.rootfs.layers.is_empty() && !job.process.argv.is_empty());
        for mount in &job.rootfs.mounts {
            let target = mount.target();
            assert!(target.starts_with('/') && target.split('/').all(|part| !matches!(part, "." | "..")));
            assert!(!["/proc", "/sys", "/dev"].iter().any(|above| target.starts_with(&format!("{above}/"))));
        }
    }
});
