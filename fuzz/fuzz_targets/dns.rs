//! DNS replies, resolv.conf and hosts: any bytes are parsed within bounds or refused, without a panic.
#![no_main]

use casemate_fetch::resolve::{Answer, Kind, Names, answer, question};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for kind in [Kind::A, Kind::Aaaa] {
        if let Answer::Addresses(addresses) = answer(7, "registry.example", kind, bytes) {
            assert!(addresses.len() <= 16 && addresses.iter().all(|address| address.is_ipv4() == (kind == Kind::A)));
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Names::new(text, text);
    let _ = question(1, text, Kind::A, true);
});
