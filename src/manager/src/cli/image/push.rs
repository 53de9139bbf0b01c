//! `casemate image push`.

use super::{Work, text};
use crate::cli::file::{Faulty, File};
use crate::cli::{Code, Error, Global};
use crate::image::{push, select};
use crate::launch;
use crate::registry::{self, Lane};
use crate::spec::ImagePin;
use casemate_wire::Digest;
use std::path::PathBuf;

const EXAMPLE: &str = "Example:\n\
    \x20 casemate image pack --binary app --name app:1\n\
    \x20 casemate image push app:1 registry.site.example:5000/team/app:1 --file casemate.toml";

/// Send an image of the store to a registry
///
/// What the registry has already is not sent. The image keeps its digest there. How the registry is reached, with which login and
/// certificate authorities, stands in the [registries] tables of a file; mirrors are not sent to.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub struct Push {
    /// A name, a pin, or the first digits of one
    image: String,
    /// Where to: REGISTRY/REPOSITORY[:TAG]
    to: String,
    /// The file whose [registries] tables hold [default: none, so TLS and no login]
    #[arg(long)]
    file: Option<PathBuf>,
}

impl Push {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let zeros = Digest::from_bytes([0; 32]);
        let to = ImagePin::parse(&format!("{}@{zeros}", self.to))
            .map_err(|error| Error::new(Code::Usage, &self.to, "read where to", error))?;
        let tables = match &self.file {
            Some(file) => File::read(file, None)?.map_err(Faulty::tell)?.spec.registries,
            None => Vec::new(),
        };
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let (terms, wanted) = registry::reach_one(&tables, &to, credentials.as_deref())?;
        let mut connections = launch::fetch::connect(&global.directories()?, 1)?;
        let connection = connections
            .pop()
            .ok_or_else(|| Error::new(Code::Failed, "casemate-fetch", "connect", "there is no connection"))?;
        let work = Work::enter(global)?;
        let pushed = (|| {
            let mut lane = Lane::open(connection, &terms)?;
            work.confine()?;
            let records = work.store.records()?;
            let pin = select(&records, &self.image)?.pin;
            let told = |digest: &Digest, size: u64| text::note(&format!("{digest}: {}", text::size(size)));
            Ok::<_, Error>(push::push(&work.store, &mut lane, &pin, &wanted, &told)?)
        })();
        let digest = work.leave(pushed)?;
        text::print(&format!("{}\n", ImagePin { digest, ..to }))
    }
}
