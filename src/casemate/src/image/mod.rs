//! `casemate image`.

mod history;
pub(super) mod import;
mod inspect;
mod list;
mod pack;
mod pin;
mod push;
mod remove;

use crate::{Code, Error, Global, add_read_only_stores};
use casemate_client::Client;
use casemate_engine::launch::{self, Role, Session};
use casemate_engine::revisions;
use casemate_image::{Limits, Store};
use casemate_spec::{self as spec, ByteSize, StorePolicy};
use std::path::PathBuf;

/// Import, inspect, pack and push images
///
/// An image is identified by the digest of its manifest or index. Every byte in the store was verified against that digest, and is
/// verified again at every start.
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
    /// Protect images from `store gc`
    Pin(pin::Pin),
    /// Stop protecting images from `store gc`
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

/// Limits on the size of an image. An image above one of them is not imported.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitFlags {
    /// Bytes of one blob, compressed if the layer is
    #[arg(long, value_name = "SIZE", default_value = "8GiB")]
    max_blob: ByteSize,
    /// Bytes of one layer, unpacked
    #[arg(long, value_name = "SIZE", default_value = "8GiB")]
    max_layer: ByteSize,
    /// Bytes of all layers of an image, unpacked
    #[arg(long, value_name = "SIZE", default_value = "16GiB")]
    max_image: ByteSize,
    /// Entries of one layer; the memory limit of casemate-unpack is sufficient for about a million
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    max_entries: u64,
    /// Unpacked bytes per compressed byte, after the first 16 MiB
    #[arg(long, value_name = "RATIO", default_value_t = 200)]
    max_ratio: u32,
}

impl LimitFlags {
    /// The flags as arguments for a child process of this program.
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

/// The session of a verb: the instance, its store and the connection to its helper.
pub(super) struct Work {
    pub(super) session: Session,
    pub(super) client: Client,
    pub(super) store: Store,
}

impl Work {
    /// Changes to the manager's user and connects to the helper. If no helper runs, one is started until [`Self::leave`].
    pub(super) fn enter(global: &Global) -> Result<Self, Error> {
        let (session, policy) = entered(global, Role::Client)?;
        Self::connect(session, &policy)
    }

    /// As [`Self::enter`], with the store policy of a given file.
    pub(super) fn enter_with(global: &Global, policy: &StorePolicy) -> Result<Self, Error> {
        Self::connect(launch::enter(global.directories_with_stores(policy)?, Role::Client)?, policy)
    }

    fn connect(session: Session, policy: &StorePolicy) -> Result<Self, Error> {
        let client = session.connect(false)?;
        let store = opened(&session)?.with_free_space(policy.free_space);
        Ok(Self { session, client, store })
    }

    /// Confines this process, as the manager does, before it reads untrusted data: it can execute no program and open only files of
    /// the instance.
    pub(super) fn confine(&self) -> Result<(), Error> {
        Ok(self.session.confine()?)
    }

    /// Ends the session. An error of the verb takes precedence over one of leaving.
    pub(super) fn leave<T, E: Into<Error>>(self, outcome: Result<T, E>) -> Result<T, Error> {
        drop(self.client);
        let left = self.session.leave();
        let value = outcome.map_err(Into::into)?;
        left?;
        Ok(value)
    }
}

/// Changes to the manager's user, for a verb without a file: the store policy is that of the applied file.
fn entered(global: &Global, role: Role) -> Result<(Session, StorePolicy), Error> {
    let mut session = launch::enter(global.directories()?, role)?;
    let state = &session.directories.state;
    let applied = revisions::current(state).map_err(|error| {
        Error::new(Code::Failed, state.join("revisions/current").display(), "read the applied file", error)
    })?;
    let policy = applied.map(|text| spec::store_policy(&text)).unwrap_or_default();
    add_read_only_stores(&mut session, &policy);
    Ok((session, policy))
}

/// The store of an instance, with its read-only stores.
pub(super) fn opened(session: &Session) -> Result<Store, Error> {
    let directories = &session.directories;
    Ok(Store::open_with(&directories.state, directories.read_only_stores())?)
}

/// The path of casemate-unpack, which lies beside this program.
pub(super) fn unpacker() -> Result<PathBuf, Error> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| Error::new(Code::Failed, "/proc/self/exe", "find the programs", error))?;
    Ok(program.with_file_name("casemate-unpack"))
}
