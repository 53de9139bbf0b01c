//! The protocol of casemate-fetch, in both directions: a decoded message encodes and decodes to an equal one.
#![no_main]

use casemate_fetch_wire::{decode_config, decode_reply, decode_request, encode, encode_config};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = decode_request(bytes) {
        assert_eq!(decode_request(&encode(&request).expect("it was as long")), Ok(request));
    }
    if let Ok(reply) = decode_reply(bytes) {
        assert_eq!(decode_reply(&encode(&reply).expect("it was as long")), Ok(reply));
    }
    if let Some(config) = decode_config(bytes) {
        assert_eq!(decode_config(&encode_config(&config).expect("it was as long")), Some(config));
    }
});
