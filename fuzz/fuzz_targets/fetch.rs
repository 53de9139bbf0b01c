//! The protocol of casemate-fetch, both ways: what decodes encodes to the same bytes.
#![no_main]

use casemate_fetch_wire::{decode_reply, decode_request, decode_terms, encode, encode_terms};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = decode_request(bytes) {
        assert_eq!(decode_request(&encode(&request).expect("it was as long")), Ok(request));
    }
    if let Ok(reply) = decode_reply(bytes) {
        assert_eq!(decode_reply(&encode(&reply).expect("it was as long")), Ok(reply));
    }
    if let Some(terms) = decode_terms(bytes) {
        assert_eq!(decode_terms(&encode_terms(&terms).expect("it was as long")), Some(terms));
    }
});
