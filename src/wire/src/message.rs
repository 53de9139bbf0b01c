//! Requests to the helper, its replies, and the events that it sends unasked.

use crate::{Digest, Job, Name};
use serde::{Deserialize, Serialize};

/// Manager to helper. Several clients of the manager's user may be connected; replies carry the request's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// Chosen by the client, returned in the reply.
    pub number: u32,
    /// What is asked.
    pub request: Request,
}

/// The closed table of what the helper does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// First message of a connection, and only that. Answer: [`Reply::Facts`]. A `supervise` client gets the events; a later one replaces it.
    Hello {
        /// [`crate::PROTOCOL`].
        protocol: u16,
        /// Receive events.
        supervise: bool,
    },
    /// Answer: [`Reply::Layers`].
    Layers,
    /// With one descriptor: the blob, open for reading, at its start. Answer, when it is done: [`Reply::Unpacked`].
    Unpack(UnpackLayer),
    /// With one descriptor: a file, empty, open for writing. A confined process writes a line there for each entry of this layer as
    /// it lies on the disk, without its parents: path, type, mode, owner, size, time, sha256 of the content, extended attributes, in
    /// an order that depends on names alone. Equal lists are equal layers. Answer, when it is done: [`Reply::Unpacked`], its
    /// entries and bytes those of the disk.
    List(Digest),
    /// As `List`, of a volume: nothing is read and nothing written.
    Measure(Name),
    /// Refused while a container or an unpack uses it. It is gone at once for everybody; the answer, [`Reply::Done`], comes when its files are.
    RemoveLayer(Digest),
    /// Answer, after the payload's execve: [`Reply::Started`] with descriptors as [`Request::Attach`].
    Start(Box<Job>),
    /// Answer: [`Reply::Attached`] with five descriptors: pidfd of the container's pid 1; read ends of its stdout and of its
    /// stderr; read and write end of the holding pipe, which keeps bytes that the manager has taken and not yet written.
    /// An exited container that is not forgotten gives its pidfd and pipes too.
    Attach(Name),
    /// Sends a signal to pid 1. Answer: [`Reply::Done`].
    Signal {
        /// The container.
        name: Name,
        /// 1..=64.
        signal: u8,
    },
    /// SIGKILL to all of the container. Answer: [`Reply::Done`].
    Kill(Name),
    /// Answer: [`Reply::Containers`].
    Containers,
    /// Frees an exited container: pipes, cgroup, name. Answer: [`Reply::Done`].
    Forget(Name),
    /// Ends the helper. Refused while a container runs. Answer: [`Reply::Done`].
    Quit,
}

/// One layer to prove and write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackLayer {
    /// The blob's digest, proven again while it is read.
    pub blob: Digest,
    /// The blob's size in bytes, exact.
    pub size: u64,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// ChainIDs of the parents, bottom first; all present.
    pub parents: Vec<Digest>,
    /// The layer's own ChainID: it becomes the layer's name. The helper recomputes it.
    pub chain_id: Digest,
    /// Where to stop.
    pub limits: LayerLimits,
    /// Whether it is on the disk, with everything that was unpacked before it, when it is told.
    pub sync: bool,
}

/// Bounds of one layer. Passing one is an error, and the layer never appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerLimits {
    /// Uncompressed bytes, tar framing included.
    pub bytes: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of one path.
    pub path: u32,
    /// Components of one path.
    pub depth: u32,
    /// Uncompressed bytes per compressed byte, counted after the first 16 MiB.
    pub ratio: u32,
}

/// What unpack saw.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LayerReport {
    /// Entries applied.
    pub entries: u64,
    /// Uncompressed bytes.
    pub bytes: u64,
    /// Device nodes that were not made.
    pub devices: u64,
    /// Files that lost set-uid or set-gid.
    pub set_id: u64,
    /// Extended attributes that were not copied: file capabilities, `trusted.*`, `user.overlay.*` and other refused ones.
    pub xattrs: u64,
    /// Paths of the first 32 things left out, control bytes escaped, with the reason (`dev/sda: block device`).
    pub left_out: Vec<String>,
}

/// Helper to manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The answer to the packet of this number.
    Reply {
        /// The packet's number.
        number: u32,
        /// The answer.
        reply: Reply,
    },
    /// Not asked for.
    Event(Event),
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To `Hello`.
    Facts(Facts),
    /// ChainIDs of the complete layers, and whether each is a link into a store that is lent.
    Layers(Vec<(Digest, bool)>),
    /// The layer is there.
    Unpacked(LayerReport),
    /// The payload was executed.
    Started,
    /// Descriptors follow.
    Attached,
    /// All containers that are not forgotten.
    Containers(Vec<Container>),
    /// It was done.
    Done,
    /// It was not done, and nothing of it is left.
    Failed(Failure),
}

/// What this host and this way of running can do; found by the helper at its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// [`crate::PROTOCOL`] of the helper.
    pub protocol: u16,
    /// The ids of A.
    pub ids: IdSpace,
    /// Controllers that can be used.
    pub cgroup: CgroupFacts,
    /// Landlock ABI, 0: none.
    pub landlock: u32,
}

/// The ids of A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdSpace {
    /// An ordinary user's: 0 alone.
    Single,
    /// 0 and 1..=count.
    Range {
        /// How many ids follow 0.
        count: u32,
    },
}

/// Controllers that the helper can set for its containers, by the names of cgroup v2 (`io` also stands for blkio).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CgroupFacts {
    /// On the unified hierarchy.
    pub v2: Vec<String>,
    /// On hierarchies of their own.
    pub v1: Vec<String>,
}

/// A step that failed, with what it was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step's name, as `--steps` prints it, or the invariant's.
    pub step: String,
    /// What it was done to, or the reason where there is no errno.
    pub object: String,
    /// errno, where there is one.
    pub errno: Option<i32>,
    /// What kind: decides the exit code.
    pub kind: FailureKind,
}

/// Which exit code a failure leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The container or its image cannot run so (1).
    Container,
    /// Bytes are not what was pinned, or break a limit (4).
    Verification,
    /// This host cannot apply a control (5).
    NotEnforceable,
    /// The request is not allowed now, or never (1).
    Refused,
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
    /// The signal that ended it, where one did.
    pub signal: Option<u8>,
    /// Processes that the memory limit killed.
    pub oom_kills: u64,
    /// When, nanoseconds of CLOCK_REALTIME.
    pub at: u64,
}

/// Not asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A container's pid 1 has ended.
    Exited {
        /// The container.
        name: Name,
        /// How.
        exit: Exit,
    },
}
