//! The messages between manager and helper, and what the helper exchanges with `casemate-unpack`.
//!
//! One message is one SOCK_SEQPACKET packet of at most [`MAX_MESSAGE`] bytes: an [`Envelope`] with the message's name and its
//! body, encoded with postcard. Descriptors travel beside it (SCM_RIGHTS), each under a name ([`Descriptors`]). A body that
//! does not decode to its last byte is refused, so every packet has one reading. This crate does no I/O.
//!
//! # Versions
//!
//! Manager and helper are upgraded at different times: the helper, and with it every container, outlives the manager's
//! programs. So the protocol is versioned by message.
//!
//! **Frozen** are the envelope and the messages of [`frozen`]: `hello`, `containers`, `attach`, `signal`, `kill`, `forget`;
//! `welcome`, `containers`, `attached`, `done`, `failed`; `exited`. Their names, fields, types, descriptors and meaning never
//! change, and no later version drops one of them. With them alone any manager can list, take over, read and stop what any
//! helper runs. `tests/frozen/` holds the recorded bytes of each; a test compares.
//!
//! **Additive** is everything else. A message that needs other fields gets a new name; the old name keeps its fields as long
//! as it is supported. What one side does not know, the other can do without:
//!
//! - an unknown request, or a body that cannot be read, is answered by `failed`, which names the request;
//! - an unknown event is ignored; an unknown answer is an error of the one request that it answers;
//! - an unknown descriptor is closed; a missing or doubled one is refused by its name.
//!
//! Only bytes that are no envelope end a connection. A [`Job`] has a version of its own, [`JOB_VERSION`], because most features
//! add to it: a helper starts jobs of its own version only, and says so.
#![forbid(unsafe_code)]

mod descriptors;
mod digest;
mod enter;
mod envelope;
mod facts;
pub mod frozen;
mod hex;
mod job;
mod layer;
mod message;
mod name;

pub use descriptors::{ContainerDescriptors, Descriptors, EnteredDescriptors, descriptor};
pub use digest::Digest;
pub use enter::{Enter, Entered, ProcessExit, ProcessExited};
pub use envelope::Envelope;
pub use facts::{CgroupFacts, Facts, IdSpace};
pub use frozen::{Container, Exit, Exited, Failure, FailureKind, State};
pub use job::{
    Confinement, Device, Ids, IoLimit, JOB_VERSION, Job, Landlock, Limits, Memory, Mount, Network, PathAccess,
    PathRule, Proc, Process, Resources, Rlimit, Rootfs, Start, WritableRoot,
};
pub use layer::{DiskUsage, Layer, LayerLimits, LayerReport, Layers, ListLayers, Unpack, UnpackOutcome, UnpackRequest};
pub use message::{Event, Reply, Request};
pub use name::Name;

use serde::{Serialize, de::DeserializeOwned};

/// The largest packet, in bytes. It stays below the default socket buffer, so a packet either goes whole or not at all.
pub const MAX_MESSAGE: usize = 128 * 1024;
/// The largest body of a message, in bytes: the rest of the packet is room for the envelope.
pub const MAX_BODY: usize = MAX_MESSAGE - 1024;
/// The protocol of this version, exchanged by `hello` and `welcome`. It is only shown: no decision depends on it.
pub const PROTOCOL: u16 = 1;

/// A value is not one of its type; the text says what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error(&'static str);

const TOO_LONG: Error = Error("message is longer than it may be");
const MALFORMED: Error = Error("message is malformed");

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Error {}

/// Encodes a value of at most [`MAX_BODY`] bytes.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    encode_within(MAX_BODY, value)
}

/// Like [`encode`], for a value of at most `most` bytes that does not travel as a packet.
pub fn encode_within<T: Serialize>(most: usize, value: &T) -> Result<Vec<u8>, Error> {
    let bytes = postcard::to_allocvec(value).map_err(|_| MALFORMED)?;
    if bytes.len() > most { Err(TOO_LONG) } else { Ok(bytes) }
}

/// Decodes a value; every byte must be used.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    decode_within(MAX_BODY, bytes)
}

/// Like [`decode`], of at most `most` bytes.
pub fn decode_within<T: DeserializeOwned>(most: usize, bytes: &[u8]) -> Result<T, Error> {
    if bytes.len() > most {
        return Err(TOO_LONG);
    }
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(MALFORMED),
    }
}
