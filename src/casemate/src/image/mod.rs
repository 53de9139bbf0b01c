//! `casemate image`: import, list, inspect, remove, pack, push.

mod history;
pub(super) mod import;
mod inspect;
mod list;
mod pack;
mod pin;
pub(super) mod progress;
mod push;
mod remove;
pub(super) mod text;

use crate::{Code, Error, Global, look_into};
use casemate_client::Client;
use casemate_engine::launch::{self, Role, Session};
use casemate_engine::revisions;
use casemate_image::{Limits, Store};
use casemate_spec::{self as spec, ByteSize, StorePolicy};
use std::path::PathBuf;

/// Bring images in, look at them, make them
///
/// An image is named by the digest of its manifest or index. What the store holds was proven against that digest, byte by
/// byte, and is proven again at every start.
#[derive(Debug, clap::Args)]
pub struct Image {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Import(import::Import),
    #[command(visible_alias = "list")]
    Ls(list::Ls),
    Inspect(inspect::Inspect),
    History(history::History),
    Rm(remove::Rm),
    /// Keep images, whether a file names them or not
    Pin(pin::Pin),
    /// Let `store gc` have them again
    Unpin(pin::Pin),
    Pack(Box<pack::Pack>),
    Push(push::Push),
}

impl Image {
    /// Does what the verb says.
    pub fn run(&self, global: &Global) -> Result<(), Error> {
        match &self.verb {
            Verb::Import(verb) => verb.run(global),
            Verb::Ls(verb) => verb.run(global),
            Verb::Inspect(verb) => verb.run(global),
            Verb::History(verb) => verb.run(global),
            Verb::Rm(verb) => verb.run(global),
            Verb::Pin(verb) => verb.run(global, true),
            Verb::Unpin(verb) => verb.run(global, false),
            Verb::Pack(verb) => verb.run(global),
            Verb::Push(verb) => verb.run(global),
        }
    }
}

/// How much an image may be. A bomb ends at one of these bounds, and nothing of it stays.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitFlags {
    /// Bytes of one blob as it comes, compressed or not
    #[arg(long, value_name = "SIZE", default_value = "8GiB")]
    max_blob: ByteSize,
    /// Bytes of one layer, unpacked
    #[arg(long, value_name = "SIZE", default_value = "8GiB")]
    max_layer: ByteSize,
    /// Bytes of all layers of an image, unpacked
    #[arg(long, value_name = "SIZE", default_value = "16GiB")]
    max_image: ByteSize,
    /// Entries of one layer; the unpacker's memory has room for about a million
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    max_entries: u64,
    /// Unpacked bytes for each compressed byte, after the first 16 MiB
    #[arg(long, value_name = "RATIO", default_value_t = 200)]
    max_ratio: u32,
}

impl LimitFlags {
    /// The same flags for this program once more.
    pub(super) fn arguments(&self) -> Vec<String> {
        vec![
            format!("--max-blob={}", self.max_blob.bytes()),
            format!("--max-layer={}", self.max_layer.bytes()),
            format!("--max-image={}", self.max_image.bytes()),
            format!("--max-entries={}", self.max_entries),
            format!("--max-ratio={}", self.max_ratio),
        ]
    }

    pub(super) fn limits(&self) -> Limits {
        let mut limits = Limits { blob: self.max_blob.bytes(), ..Limits::default() };
        limits.bytes = self.max_image.bytes();
        limits.entries = limits.entries.max(self.max_entries);
        limits.layer.bytes = self.max_layer.bytes();
        limits.layer.entries = self.max_entries;
        limits.layer.ratio = self.max_ratio;
        limits
    }
}

/// An instance with its store and, for what needs it, the helper.
pub(super) struct Work {
    pub(super) session: Session,
    pub(super) client: Client,
    pub(super) store: Store,
}

impl Work {
    /// Becomes the manager and connects to the helper, which is started for the time of the work if none runs.
    pub(super) fn enter(global: &Global) -> Result<Self, Error> {
        let (session, policy) = entered(global, Role::Client)?;
        Self::connect(session, &policy)
    }

    /// As [`Self::enter`], by the policy of a file that is given.
    pub(super) fn enter_with(global: &Global, policy: &StorePolicy) -> Result<Self, Error> {
        Self::connect(launch::enter(global.directories_of(policy)?, Role::Client)?, policy)
    }

    fn connect(session: Session, policy: &StorePolicy) -> Result<Self, Error> {
        let client = session.connect(false)?;
        let store = opened(&session)?.with_free_space(policy.free_space);
        Ok(Self { session, client, store })
    }

    /// Shuts this process in, as a supervisor does, before it reads what others wrote: no program is started afterwards, and
    /// no file but those of the instance can be opened.
    pub(super) fn confine(&self) -> Result<(), Error> {
        Ok(self.session.confine()?)
    }

    /// Ends the work; its own error counts more than one of leaving.
    pub(super) fn leave<T, E: Into<Error>>(self, outcome: Result<T, E>) -> Result<T, Error> {
        drop(self.client);
        let left = self.session.leave();
        let value = outcome.map_err(Into::into)?;
        left?;
        Ok(value)
    }
}

/// Becomes the manager for a verb that is given no file: what the applied one says of the store holds.
fn entered(global: &Global, role: Role) -> Result<(Session, StorePolicy), Error> {
    let mut session = launch::enter(global.directories()?, role)?;
    let state = &session.directories.state;
    let applied = revisions::current(state).map_err(|error| {
        Error::new(Code::Failed, state.join("revisions/current").display(), "read the applied file", error)
    })?;
    let policy = applied.map(|text| spec::store_policy(&text)).unwrap_or_default();
    look_into(&mut session, &policy);
    Ok((session, policy))
}

/// The store of an instance, with those that it looks into.
pub(super) fn opened(session: &Session) -> Result<Store, Error> {
    let directories = &session.directories;
    Ok(Store::open_with(&directories.state, directories.read_only_stores())?)
}

/// The program that reads archives; it lies beside this one.
pub(super) fn unpacker() -> Result<PathBuf, Error> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| Error::new(Code::Failed, "/proc/self/exe", "find the programs", error))?;
    Ok(program.with_file_name("casemate-unpack"))
}

/// Says that another process changes the store.
pub(super) fn waiting() {
    text::note("waiting for another process that changes the store");
}
