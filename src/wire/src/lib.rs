//! What crosses a privilege boundary, and nothing else: requests and jobs go to the helper, replies and events come back.
//!
//! One message is one SOCK_SEQPACKET packet of at most [`MAX_MESSAGE`] bytes, encoded with postcard; descriptors travel
//! beside it (SCM_RIGHTS) in the order that the message's documentation names. This crate does no I/O. A message that does
//! not decode to its last byte is refused, so there is one reading of every packet.
#![forbid(unsafe_code)]

mod digest;
mod hex;
mod job;
mod message;
mod name;
mod unpack;

pub use digest::Digest;
pub use job::{
    Device, Ids, IoLimit, Job, Landlock, Limits, Memory, Mount, PathAccess, PathRule, Proc, Process, Resources, Rlimit,
    Root,
};
pub use message::{
    Answer, CgroupFacts, Container, Event, Exit, Facts, Failure, FailureKind, IdSpace, LayerLimits, LayerReport,
    Packet, Reply, Request, State, UnpackLayer,
};
pub use name::Name;
pub use unpack::{UnpackOrder, UnpackOutcome};

use serde::{Serialize, de::DeserializeOwned};

/// The largest packet, in bytes. It stays below the default socket buffer, so a packet either goes whole or not at all.
pub const MAX_MESSAGE: usize = 128 * 1024;
/// Both sides must speak the same number; it changes with every change to a type in this crate.
pub const PROTOCOL: u16 = 6;

/// What was given is no value of its type; the text says what one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireError(&'static str);

const TOO_LONG: WireError = WireError("message is longer than it may be");
const MALFORMED: WireError = WireError("message is malformed");

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for WireError {}

/// Encodes one message.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    encode_within(MAX_MESSAGE, message)
}

/// As [`encode`], of at most so many bytes: for what does not travel as a packet.
pub fn encode_within<T: Serialize>(most: usize, message: &T) -> Result<Vec<u8>, WireError> {
    let bytes = postcard::to_allocvec(message).map_err(|_| MALFORMED)?;
    if bytes.len() > most { Err(TOO_LONG) } else { Ok(bytes) }
}

/// Decodes one message; every byte must be used.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    decode_within(MAX_MESSAGE, bytes)
}

/// As [`decode`], of at most so many bytes.
pub fn decode_within<T: DeserializeOwned>(most: usize, bytes: &[u8]) -> Result<T, WireError> {
    if bytes.len() > most {
        return Err(TOO_LONG);
    }
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(MALFORMED),
    }
}
