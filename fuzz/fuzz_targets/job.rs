//! Packets of the helper's socket: what decodes has one spelling, and a job that passes the check keeps its promises.
#![no_main]

use casemate_wire::{IdSpace, Packet, Request, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(packet) = decode::<Packet>(bytes) else { return };
    if let Ok(again) = encode(&packet) {
        assert_eq!(decode::<Packet>(&again), Ok(packet.clone()));
    }
    let Request::Start(job) = packet.request else { return };
    for space in [IdSpace::Single, IdSpace::Range { count: 65535 }] {
        if casemate_helper::check(&job, space).is_err() {
            continue;
        }
        assert!((1..=65534).contains(&job.ids.uid) && (1..=65534).contains(&job.ids.gid));
        assert!(!job.layers.is_empty() && !job.process.argv.is_empty());
        for mount in &job.mounts {
            let target = mount.target();
            assert!(target.starts_with('/') && target.split('/').all(|part| !matches!(part, "." | "..")));
            assert!(!["/proc", "/sys", "/dev"].iter().any(|above| target.starts_with(&format!("{above}/"))));
        }
    }
});
