//! The messages that never change: read the crate's documentation before touching this file.
//!
//! A field more or less, another order or another integer type is another encoding, and breaks every manager and helper that
//! is installed. `tests/frozen.rs` compares each message with recorded bytes.
//!
//! | message | body | descriptors |
//! |---|---|---|
//! | request `hello` | [`Hello`] | |
//! | request `containers` | [`ListContainers`] | |
//! | request `attach`, `kill`, `forget` | [`Name`] of the container | |
//! | request `signal` | [`Signal`] | |
//! | answer `welcome` | [`Welcome`] | |
//! | answer `containers` | [`Containers`] | |
//! | answer `attached` | empty | `pidfd`, `stdout`, `stderr`, `spool`, `spool-write` |
//! | answer `done` | empty | |
//! | answer `failed` | [`Failure`] | |
//! | event `exited` | [`Exited`] | |

use crate::{Digest, Name};
use serde::{Deserialize, Serialize};

/// Request `hello`: the first message of a connection, and only that. Answer: [`Welcome`]. It does not fail because of a
/// version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::PROTOCOL`] of the client.
    pub protocol: u16,
    /// Receive events. A later client that asks for them receives them in this client's place.
    pub supervise: bool,
}

/// Answer `welcome`, to `hello`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`crate::PROTOCOL`] of the helper.
    pub protocol: u16,
}

/// Request `containers`: the containers that are not forgotten, in the order of their names, a page at a time. Answer:
/// [`Containers`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListContainers {
    /// Names behind this one; `None` for the first page.
    pub after: Option<Name>,
}

/// Answer `containers`, to `containers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containers {
    /// One page.
    pub containers: Vec<Container>,
    /// There are more behind the last one of this page.
    pub more: bool,
}

/// A container that the helper knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: Name,
    /// The digest of its job.
    pub digest: Digest,
    /// When its payload was executed, nanoseconds of CLOCK_REALTIME.
    pub started: u64,
    /// Whether it runs.
    pub state: State,
}

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It runs.
    Running,
    /// Its pid 1 has ended, and with it every process.
    Exited(Exit),
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit status, or 128 and the signal.
    pub code: u8,
    /// The signal that ended it, if one did.
    pub signal: Option<u8>,
    /// Processes that the memory limit killed.
    pub oom_kills: u64,
    /// When, nanoseconds of CLOCK_REALTIME.
    pub at: u64,
}

/// Request `signal`: sends a signal to the container's pid 1. Answer: `done`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The container.
    pub name: Name,
    /// 1..=64.
    pub signal: u8,
}

/// Answer `failed`, to any request: it was not done, and nothing of it is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step, as `casemate-helper --steps` prints it, or the rule or request that refuses.
    pub step: String,
    /// What the step was done to, or the reason if there is no errno.
    pub object: String,
    /// errno, if there is one.
    pub errno: Option<i32>,
    /// What kind of failure.
    pub kind: FailureKind,
}

/// What a failure means to the caller. On the wire it is a text, so that later versions can add kinds; one that this version
/// does not know is read as [`FailureKind::Container`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum FailureKind {
    /// `container`: the container or its image cannot run so.
    Container,
    /// `verification`: bytes are not what was pinned, or break a limit.
    Verification,
    /// `not-enforceable`: this host cannot apply a control.
    NotEnforceable,
    /// `refused`: the request is not allowed now, or never.
    Refused,
    /// `unknown-request`: the helper is of a version without this request.
    UnknownRequest,
    /// `blob-differs`: a blob's bytes are not those that its digest and size name.
    BlobDiffers,
    /// `bytes-limit`: a layer is longer than its limit of bytes.
    BytesLimit,
}

/// The texts of [`FailureKind`].
const FAILURE_KINDS: [(FailureKind, &str); 7] = [
    (FailureKind::Container, "container"),
    (FailureKind::Verification, "verification"),
    (FailureKind::NotEnforceable, "not-enforceable"),
    (FailureKind::Refused, "refused"),
    (FailureKind::UnknownRequest, "unknown-request"),
    (FailureKind::BlobDiffers, "blob-differs"),
    (FailureKind::BytesLimit, "bytes-limit"),
];

impl From<FailureKind> for String {
    fn from(kind: FailureKind) -> Self {
        // The table has every kind: tests/frozen.rs encodes each.
        FAILURE_KINDS.iter().find(|(other, _)| *other == kind).map_or("container", |(_, text)| text).to_owned()
    }
}

impl From<String> for FailureKind {
    fn from(text: String) -> Self {
        FAILURE_KINDS.iter().find(|(_, other)| *other == text).map_or(Self::Container, |(kind, _)| *kind)
    }
}

/// Event `exited`: a container's pid 1 has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// The container.
    pub name: Name,
    /// How.
    pub exit: Exit,
}
