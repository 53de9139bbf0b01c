//! The frozen frame of every packet, in both directions.
//!
//! Bytes: number (u32), name, names of the descriptors, body; each as postcard encodes it (varint lengths). Every bound is
//! checked before anything is allocated.

use crate::{Error, MALFORMED, MAX_BODY, MAX_MESSAGE, TOO_LONG};
use serde::de::Deserialize;

/// The most descriptors beside one packet.
const MAX_DESCRIPTORS: usize = 8;
/// The longest name of a message or a descriptor, in bytes.
const MAX_NAME: usize = 64;

/// One packet, taken apart. What the body means depends on the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Chosen by the client for its request and repeated in the answer; 0 for an event.
    pub number: u32,
    /// The message: 1 to 64 bytes of `a-z`, `0-9` and `-`.
    pub name: &'a str,
    /// The names of the descriptors beside the packet, in their order; at most 8, of the same form as `name`.
    pub descriptors: Vec<&'a str>,
    /// The message's fields.
    pub body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// The packet's bytes.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let names = [self.name].into_iter().chain(self.descriptors.iter().copied());
        if self.descriptors.len() > MAX_DESCRIPTORS || !names.into_iter().all(is_name) {
            return Err(MALFORMED);
        }
        if self.body.len() > MAX_BODY {
            return Err(TOO_LONG);
        }
        let fields = (self.number, self.name, &self.descriptors, self.body);
        postcard::to_allocvec(&fields).map_err(|_| MALFORMED)
    }

    /// Reads a packet.
    pub fn decode(packet: &'a [u8]) -> Result<Self, Error> {
        if packet.len() > MAX_MESSAGE {
            return Err(TOO_LONG);
        }
        let (number, rest) = take(packet)?;
        let (name, rest) = take_name(rest)?;
        let (count, mut rest) = take::<u32>(rest)?;
        let count = usize::try_from(count).ok().filter(|count| *count <= MAX_DESCRIPTORS).ok_or(MALFORMED)?;
        let mut descriptors = Vec::with_capacity(count);
        for _ in 0..count {
            let (descriptor, behind) = take_name(rest)?;
            descriptors.push(descriptor);
            rest = behind;
        }
        match take(rest)? {
            (body, []) => Ok(Self { number, name, descriptors, body }),
            _ => Err(MALFORMED),
        }
    }
}

/// One field, and the bytes behind it.
fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), Error> {
    postcard::take_from_bytes(bytes).map_err(|_| MALFORMED)
}

fn take_name(bytes: &[u8]) -> Result<(&str, &[u8]), Error> {
    let (name, rest) = take(bytes)?;
    if is_name(name) { Ok((name, rest)) } else { Err(MALFORMED) }
}

fn is_name(text: &str) -> bool {
    let byte = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Envelope<'_> = Envelope { number: 300, name: "hello", descriptors: Vec::new(), body: &[7, 8] };

    #[test]
    fn envelope_has_one_spelling() {
        let packet = Envelope { descriptors: vec!["blob", "spool-write"], ..PACKET };
        let bytes = packet.encode().unwrap();
        assert_eq!(bytes, b"\xac\x02\x05hello\x02\x04blob\x0bspool-write\x02\x07\x08");
        assert_eq!(Envelope::decode(&bytes), Ok(packet));
        for end in 0..bytes.len() {
            assert!(Envelope::decode(&bytes[..end]).is_err(), "{end} bytes");
        }
        assert!(Envelope::decode(&[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn envelope_refuses_names_and_counts_out_of_bounds() {
        for name in ["", "Hello", "a b", "a\n", "é", &"x".repeat(65)] {
            assert_eq!(Envelope { name, ..PACKET }.encode(), Err(MALFORMED), "{name:?}");
            let bytes = [&[1, u8::try_from(name.len()).unwrap()], name.as_bytes(), &[0, 0]].concat();
            assert_eq!(Envelope::decode(&bytes), Err(MALFORMED), "{name:?}");
        }
        assert_eq!(Envelope { descriptors: vec!["x"; 9], ..PACKET }.encode(), Err(MALFORMED));
        // Lengths that the packet does not have: 9 descriptors, 4 GiB of them, 2 GiB of body.
        for bytes in [&b"\x01\x01a\x09"[..], b"\x01\x01a\xff\xff\xff\xff\x0f", b"\x01\x01a\x00\xff\xff\xff\xff\x07"] {
            assert_eq!(Envelope::decode(bytes), Err(MALFORMED));
        }
        let body = vec![0; MAX_BODY + 1];
        assert_eq!(Envelope { body: &body, ..PACKET }.encode(), Err(TOO_LONG));
        assert_eq!(Envelope::decode(&vec![0; MAX_MESSAGE + 1]), Err(TOO_LONG));
    }
}
