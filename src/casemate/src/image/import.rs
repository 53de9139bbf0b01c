//! `casemate image import`.

use super::{LimitFlags, Work, unpacker};
use crate::print;
use crate::progress::{self, waiting_for_store};
use crate::{Error, Global};
use casemate_image::layout::Opened;
use casemate_image::names;
use casemate_image::store::Record;
use casemate_image::transfer::import::{Selection, import};
use serde::Serialize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Example:\n\
    \x20 skopeo copy docker://docker.io/library/redis:8 oci-archive:redis.tar\n\
    \x20 casemate image import redis.tar --name docker.io/library/redis:8";

/// Import images from a directory or an archive
///
/// Reads OCI layout directories, OCI archives, and the archives of `docker save` and `podman save`. Every byte is verified and every
/// layer is unpacked before the image is in the store; after an error, nothing is imported. Prints the pin of each image, for
/// `image =` in the file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Import {
    /// An OCI layout directory, or an uncompressed archive
    path: PathBuf,
    /// Name of the image; without a registry it is localhost/NAME [default: the name in the input]
    #[arg(long)]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: LimitFlags,
}

impl Import {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let name = self.name.as_deref().map(names::parse).transpose()?;
        // Opened by the caller, read by the manager: see the identities in SECURITY.md.
        let opened = Opened::open(&self.path)?;
        let unpacker = unpacker()?;
        let mut work = Work::enter(global)?;
        let imported = self.import(&mut work, opened, &unpacker, name.as_deref());
        print_imported(&work.leave(imported)?, self.json)
    }

    fn import(
        &self,
        work: &mut Work,
        opened: Opened,
        unpacker: &Path,
        name: Option<&str>,
    ) -> Result<Vec<Record>, Error> {
        let input = opened.index(unpacker)?;
        work.confine()?;
        let writer = work.store.lock(waiting_for_store)?;
        let mut progress = progress::progress();
        let limits = self.limits.limits();
        let selection = name.map_or(Selection::All, Selection::Named);
        Ok(import(&mut work.client, &writer, &input, selection, &limits, progress.as_mut())?)
    }
}

/// One imported image, in JSON.
#[derive(Serialize)]
struct Row<'a> {
    pin: String,
    manifest: String,
    names: &'a [String],
    references: Vec<String>,
    bytes: u64,
    layers: usize,
}

/// Every name with its pin, as `image` in the file.
pub(crate) fn references(records: &[Record]) -> impl Iterator<Item = String> {
    records.iter().flat_map(|record| record.names.iter().map(|name| names::pinned(name, &record.pin)))
}

/// Prints the pins.
pub(crate) fn print_imported(records: &[Record], json: bool) -> Result<(), Error> {
    if !json {
        let lines = references(records).map(|line| line + "\n");
        return print::text(&lines.collect::<String>());
    }
    let rows = records.iter().map(|record| Row {
        pin: record.pin.to_string(),
        manifest: record.manifest.to_string(),
        names: &record.names,
        references: references(std::slice::from_ref(record)).collect(),
        bytes: record.bytes(),
        layers: record.layers.len(),
    });
    print::json(&rows.collect::<Vec<_>>())
}
