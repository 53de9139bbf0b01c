//! Encodes requests and decodes packets of a connection to the helper. Shared by the blocking [`crate::Client`] and event-driven clients.
//!
//! An event-driven client owns a non-blocking socket. It passes a request to [`Codec::encode`], sends the packet with the descriptors
//! (`casemate_sys::socket::send`), and stores the number. It passes each received packet (`casemate_sys::socket::receive`) to [`decode`]:
//! a reply carries the number of its request.

use crate::Error;
use casemate_wire::{Descriptors, Envelope, Event, Reply, Request};
use std::os::fd::OwnedFd;

/// A reply and its descriptors.
pub type Answer = (Reply, Descriptors);

/// Numbers the requests of one connection.
#[derive(Debug, Default)]
pub struct Codec {
    last: u32,
}

/// One packet from the helper.
#[derive(Debug)]
pub enum Incoming {
    /// The reply to the request with this number. An error is that of this request only; the connection stays usable.
    Answer(u32, Result<Answer, Error>),
    /// An event.
    Event(Event),
}

impl Codec {
    /// The number and packet of a request. Send the descriptors with these names beside it, in this order.
    pub fn encode(&mut self, request: &Request, descriptors: &[&str]) -> Result<(u32, Vec<u8>), Error> {
        // 0 is the number of events.
        self.last = self.last.checked_add(1).unwrap_or(1);
        let packet = request.packet(self.last, descriptors).map_err(|_| Error::Protocol("the request is too long"))?;
        Ok((self.last, packet))
    }
}

/// Decodes one packet. `None`: an event of a later version, to be ignored. An error ends the connection.
pub fn decode(packet: &[u8], descriptors: Vec<OwnedFd>) -> Result<Option<Incoming>, Error> {
    let envelope = Envelope::decode(packet).map_err(|_| Error::Protocol("malformed envelope"))?;
    let descriptors =
        Descriptors::new(&envelope.descriptors, descriptors).ok_or(Error::Protocol("missing descriptors"))?;
    if envelope.number == 0 {
        return match Event::decode(envelope.name, envelope.body) {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(Incoming::Event(event))),
            Some(Err(_)) => Err(Error::Protocol("malformed event")),
        };
    }
    let outcome = match Reply::decode(envelope.name, envelope.body) {
        Some(Ok(Reply::Failed(failure))) => Err(Error::Failed(failure)),
        Some(Ok(reply)) => Ok((reply, descriptors)),
        Some(Err(_)) => Err(Error::Answer(format!("malformed reply `{}`", envelope.name))),
        None => Err(Error::Answer(format!("reply `{}` is unknown to this version", envelope.name))),
    };
    Ok(Some(Incoming::Answer(envelope.number, outcome)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_wire::{Exit, Exited, Name};

    fn incoming(number: u32, name: &str, body: &[u8]) -> Result<Option<Incoming>, Error> {
        decode(&Envelope { number, name, descriptors: Vec::new(), body }.encode().unwrap(), Vec::new())
    }

    #[test]
    fn unknown_event_is_ignored_and_unknown_reply_fails_its_request() {
        assert!(matches!(incoming(0, "paused", &[1, 2, 3]), Ok(None)));
        assert!(matches!(incoming(7, "paused", &[1]), Ok(Some(Incoming::Answer(7, Err(Error::Answer(_)))))));
        assert!(matches!(incoming(7, "done", &[1]), Ok(Some(Incoming::Answer(7, Err(Error::Answer(_)))))));
        assert!(matches!(incoming(7, "done", &[]), Ok(Some(Incoming::Answer(7, Ok((Reply::Done(()), _)))))));
    }

    #[test]
    fn malformed_packet_ends_the_connection() {
        assert!(matches!(decode(b"\xff", Vec::new()), Err(Error::Protocol(_))));
        assert!(matches!(incoming(0, "exited", &[1]), Err(Error::Protocol(_))));
        let exit = Exit { code: 0, signal: None, oom_kills: 0, at: 0 };
        let packet = Event::Exited(Exited { name: Name::new("a").unwrap(), exit }).packet(0, &["pidfd"]).unwrap();
        assert!(matches!(decode(&packet, Vec::new()), Err(Error::Protocol(_))));
    }

    #[test]
    fn request_numbers_wrap_to_1() {
        let mut codec = Codec { last: u32::MAX - 1 };
        let mut number = || codec.encode(&Request::Quit(()), &[]).unwrap().0;
        assert_eq!([number(), number(), number()], [u32::MAX, 1, 2]);
    }
}
