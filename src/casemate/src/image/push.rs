//! `casemate image push`.

use super::{entered, opened, unpacker};
use crate::file;
use crate::print;
use crate::progress::waiting_for_removal;
use crate::{Code, Error, Global};
use casemate_engine::launch::{self, Role};
use casemate_image::layout::Opened;
use casemate_image::registry::{Connection, fetch_config};
use casemate_image::store::select;
use casemate_image::transfer::push::{self, Target};
use casemate_spec::ImagePin;
use casemate_wire::Digest;
use std::path::PathBuf;

const EXAMPLE: &str = "Example:\n\
    \x20 casemate image pack --binary app --name app:1\n\
    \x20 casemate image push app:1 registry.site.example:5000/team/app:1 --file casemate.toml\n\n\
    For several platforms:\n\
    \x20 casemate image pack --platform amd64=x86/app --platform arm64=arm/app --name app:1 --output app.tar\n\
    \x20 casemate image push app:1 registry.site.example:5000/team/app:1 --from app.tar --file casemate.toml";

/// Push an image to a registry
///
/// Pushes from the store, or from an OCI layout or archive with --from. Of an index, the store pushes the manifest of this platform, a
/// layout all manifests. Blobs that the registry has are not sent again. The digest stays the same. The [registries] tables of the file
/// have the login, the certificate authorities and the address; mirrors are not used.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub struct Push {
    /// A name, a pin, or at least the first six digits of a digest
    image: String,
    /// Target: REGISTRY/REPOSITORY[:TAG]
    to: String,
    /// Push from this OCI layout directory or archive instead of the store
    #[arg(long, value_name = "LAYOUT")]
    from: Option<PathBuf>,
    /// The file with the [registries] tables [default: none: TLS without login]
    #[arg(long)]
    file: Option<PathBuf>,
}

impl Push {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let zeros = Digest::from_bytes([0; 32]);
        let to = ImagePin::parse(&format!("{}@{zeros}", self.to))
            .map_err(|error| Error::new(Code::Usage, &self.to, "read where to", error))?;
        let tables = match &self.file {
            Some(file) => file::read(file, None)?.spec.registries,
            None => Vec::new(),
        };
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let (config, request) = fetch_config::for_image(&tables, &to, credentials.as_deref())?;
        // Opened by the caller, read by the manager: see the identities in SECURITY.md.
        let layout = self.from.as_deref().map(Opened::open).transpose()?;
        let unpacker = unpacker()?;
        let mut connections = launch::fetch::connect(&global.directories()?, 1)?;
        let connection = connections
            .pop()
            .ok_or_else(|| Error::new(Code::Failed, "casemate-fetch", "connect", "there is no connection"))?;
        let (session, _) = entered(global, Role::Store)?;
        let input = layout.map(|layout| layout.index(&unpacker)).transpose()?;
        let mut connection = Connection::open(connection, &config)?;
        session.confine()?;
        let progress = |digest: &Digest, size: u64| print::note(&format!("{digest}: {}", print::size(size)));
        let mut target = Target { connection: &mut connection, to: &request, progress: &progress };
        let digest = if let Some(input) = &input {
            push::from_layout(input, &self.image, &mut target)?
        } else {
            let store = opened(&session)?;
            let _references = store.lock_references(waiting_for_removal)?;
            let pin = select(&store.all_records()?, &self.image)?.pin;
            push::from_store(&store, &pin, &mut target)?
        };
        print::text(&format!("{}\n", ImagePin { digest, ..to }))
    }
}
