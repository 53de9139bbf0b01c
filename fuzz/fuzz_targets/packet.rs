//! Packets of the helper's socket: a decoded packet has one encoding, and a message that cannot be read is refused by its name.
#![no_main]

use casemate_wire::{Envelope, Event, Reply, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(envelope) = Envelope::decode(bytes) else { return };
    let again = envelope.encode().unwrap();
    assert_eq!(Envelope::decode(&again), Ok(envelope.clone()));
    match Request::read(&envelope) {
        Ok(request) => {
            let packet = request.packet(envelope.number, &envelope.descriptors).unwrap();
            assert_eq!(Request::read(&Envelope::decode(&packet).unwrap()), Ok(request));
        }
        Err(failure) => assert_eq!(failure.step, envelope.name),
    }
    if let Some(Ok(reply)) = Reply::decode(envelope.name, envelope.body) {
        let packet = reply.packet(envelope.number, &envelope.descriptors).unwrap();
        let again = Envelope::decode(&packet).unwrap();
        assert_eq!(Reply::decode(again.name, again.body), Some(Ok(reply)));
    }
    if let Some(Ok(event)) = Event::decode(envelope.name, envelope.body) {
        let packet = event.packet(0, &[]).unwrap();
        let again = Envelope::decode(&packet).unwrap();
        assert_eq!(Event::decode(again.name, again.body), Some(Ok(event)));
    }
});
